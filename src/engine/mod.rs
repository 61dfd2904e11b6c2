//! Engines: where the messages of all channels get their order.
//!
//! | module | subject |
//! |---|---|
//! | [`hub`] | the hub, which orders the messages of several processes |
//! | `local` | the engine of a single process |
//! | `outside` | the publish socket of a single process |

pub mod hub;
mod local;
mod outside;

pub use local::Local;
pub use outside::PublishSocket;
