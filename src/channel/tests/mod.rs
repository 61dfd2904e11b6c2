//! Tests of the channels as a whole.

mod bounds;
mod compressing;
pub(crate) mod delayed;
mod encoding;
mod engines;
mod model;
mod threads;

use super::Wake;

/// Wakes nothing: for tests that read by themselves.
struct Quiet;

impl Wake for Quiet {
    fn wake(&self) {}
}
