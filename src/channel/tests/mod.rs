//! Tests of the channels as a whole.

mod bounds;
mod model;
mod threads;
