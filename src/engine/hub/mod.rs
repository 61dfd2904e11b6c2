//! The hub: one process that orders the messages of several processes.
//!
//! | module | subject |
//! |---|---|
//! | `author` | the random number of a process that publishes |
//! | [`client`] | the engine of a worker |
//! | [`protocol`] | the frames between the hub and its peers |
//! | [`publisher`] | publishing from a process without a server |
//! | [`server`] | the hub itself |

mod author;
pub mod client;
pub mod protocol;
pub mod publisher;
pub mod server;
