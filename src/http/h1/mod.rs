//! HTTP/1: from a socket's bytes to requests, and from responses to bytes.
//!
//! | module | subject |
//! |---|---|
//! | `connection` | the task of one connection |
//! | `state` | the state that the parts of a connection share |
//! | `reading` | what may be read, and what the connection waits for |
//! | `deadline` | how long it waits |
//! | `requests` | requests on their way to the service |
//! | `direct` | simple requests, answered without hyper |
//! | `adapter` | the adapter to hyper |
//! | `socket` | the socket, of which each request is scanned |
//! | [`framing`] | the scanner: it takes simple requests, and refuses what hyper would accept |
//! | `head_writer` | the heads of responses |
//! | `takeover`, `detached` | connections that stay open after HTTP has ended |
//! | `access_records` | the access log's entries of a connection |

mod access_records;
mod adapter;
pub(super) mod connection;
mod deadline;
mod detached;
mod direct;
pub mod framing;
#[cfg(test)]
mod head_comparison;
mod head_writer;
mod reading;
mod requests;
mod socket;
mod state;
mod takeover;
