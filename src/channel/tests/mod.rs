//! Tests of the channels as a whole.

mod bounds;
pub(crate) mod delayed;
mod encoding;
mod engines;
mod model;
mod threads;
