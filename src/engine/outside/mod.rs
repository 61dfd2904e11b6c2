//! The publish socket of a server with one process: processes without a server connect to it, and publish.
//!
//! They speak the hub's protocol, see [`super::hub::protocol`]. The reactor answers; no Ruby runs.
//!
//! | module | subject |
//! |---|---|
//! | `socket` | accepting connections, reading and writing |
//! | `session` | the frames of one connection, without a socket |
//! | `authors` | which messages of which process have numbers |

mod authors;
mod session;
mod socket;
#[cfg(test)]
mod tests;

pub use socket::PublishSocket;
