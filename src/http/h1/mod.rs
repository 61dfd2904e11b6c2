//! HTTP/1: from a socket's bytes to requests, and from responses to bytes.
//!
//! | module | subject |
//! |---|---|
//! | [`connection`] | the task of one connection |
//! | `state` | what the parts of a connection know of each other |
//! | `reading` | what hyper may read, and what the connection waits for |
//! | `deadline` | how long it waits |
//! | `adapter` | hyper |
//! | `socket` | the socket as hyper sees it |
//! | [`framing`] | the raw bytes in front of hyper: what hyper would be lenient about |
//! | `head_writer` | heads that do not go through hyper |
//! | `takeover`, `detached` | how HTTP ends on a connection that goes on |
//! | `access_records` | the access log's entries of a connection |

mod access_records;
mod adapter;
pub mod connection;
mod deadline;
mod detached;
pub mod framing;
mod head_writer;
mod reading;
mod socket;
mod state;
mod takeover;
