//! HTTP/1: from a socket's bytes to requests, and from responses to bytes.
//!
//! | module | subject |
//! |---|---|
//! | `connection` | the task of one connection |
//! | `state` | the state that the parts of a connection share |
//! | `reading` | what hyper may read, and what the connection waits for |
//! | `deadline` | how long it waits |
//! | `adapter` | the adapter to hyper |
//! | `socket` | the socket as hyper sees it |
//! | [`framing`] | the scanner in front of hyper, which refuses what hyper would accept |
//! | `head_writer` | the heads that hyper does not write |
//! | `takeover`, `detached` | connections that stay open after HTTP has ended |
//! | `access_records` | the access log's entries of a connection |

mod access_records;
mod adapter;
pub(super) mod connection;
mod deadline;
mod detached;
pub mod framing;
mod head_writer;
mod reading;
mod socket;
mod state;
mod takeover;
