//! Tests of the channels as a whole.

mod bounds;
mod encoding;
mod model;
mod threads;
