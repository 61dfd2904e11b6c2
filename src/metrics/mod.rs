//! `/metrics` and `/stats`: what the server counts, for Prometheus and for programs.
//!
//! A small HTTP/1.1 server of its own, so that it answers whatever the app does. The hub runs it on its loop (`sockets`), and a
//! server in a single process on its reactor (`task`).
//!
//! | module | subject |
//! |---|---|
//! | `figures` | what there is to tell: the counters of all processes |
//! | `families` | the metrics: their names, and their values |
//! | `text` | the text formats of OpenMetrics and Prometheus |
//! | `json` | the answer to `/stats` |
//! | `negotiation` | which text format a client prefers |
//! | `answer` | the response to a request |
//! | `connection` | a connection: a state machine without I/O |
//! | `socket` | a connection with its socket |
//! | `sockets` | all connections, for a loop around poll(2) |
//! | `task` | all connections, for a tokio runtime |

mod answer;
mod connection;
mod families;
mod figures;
mod json;
mod negotiation;
mod socket;
mod sockets;
mod task;
#[cfg(test)]
mod tests;
mod text;

pub use families::{Family, FamilyKind, table};
pub use figures::{Figures, Source, WorkerFigures};
pub use sockets::Sockets;
pub use task::serve;

/// Connections at a time. Others wait in the backlog.
const CONNECTIONS: usize = 32;
