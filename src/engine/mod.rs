//! Engines: where the messages of all channels get their order.
//!
//! | module | subject |
//! |---|---|
//! | `local` | the engine of a single process |

mod local;

pub use local::Local;
