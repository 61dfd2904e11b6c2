//! Engines: where the messages of all channels get their order.
//!
//! | module | subject |
//! |---|---|
//! | `local` | the order of one process |

mod local;

pub use local::Local;
