//! A worker's engine: all messages get their order from the hub.
//!
//! | module | subject |
//! |---|---|
//! | `engine` | [`HubClient`], the engine |
//! | `shared` | what its threads leave for one another |
//! | `driver` | gives the connection its turns: a task of the reactor, or a thread |
//! | `connection` | the socket and its buffers |
//! | `machine` | [`Machine`], a worker's half of the protocol, without I/O |
//! | `receive` | what the machine does with the frames of the hub |
//! | `relay`, `parcels`, `peers` | parcels for other workers, and from them |
//! | `questions` | questions for the end of the log |
//! | `rules` | the rules of the app's channels |
//! | `own`, `commands` | the messages and commands of this process that wait for their numbers |
//! | `tail` | the newest entries of the log, for a new hub |
//! | `report`, `snapshot` | a whole log: to a new hub, and from the hub |

mod commands;
mod connection;
mod driver;
mod engine;
mod machine;
mod own;
mod parcels;
mod peers;
mod questions;
mod receive;
mod relay;
mod report;
mod rules;
mod shared;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;

pub use engine::{HubClient, WorkerSettings, replace_worker};
pub use machine::{HubError, Machine, Now, Results};
pub use own::Settled;
