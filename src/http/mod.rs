//! HTTP/1.1: from a socket's bytes to a [`Request`] for a worker, and back.
//!
//! | module | subject |
//! |---|---|
//! | [`connection`] | one connection: hyper, until an upgrade takes the socket over |
//! | [`socket`] | the socket as hyper sees it: through the framing |
//! | [`watch`] | what a connection's parts know of each other: deadlines, takeovers, answers |
//! | [`service`] | what happens to a request, step by step |
//! | [`entries`] | what the access log is told of a connection's responses |
//! | `upload` | reading a request's body |
//! | [`spool`] | a request's body in memory or in a temporary file |
//! | [`budget`] | a bound for all bodies in temporary files together |
//! | [`framing`] | the raw bytes in front of hyper: what it would be lenient about |
//! | [`validate`] | what hyper lets through and a server must not |
//! | [`headers`] | reading header fields: single values, lists, q-values |
//! | [`upgrade`] | which requests can become push connections, and the head that says yes |
//! | [`long_poll`] | which requests are long polls, and what answers them |
//! | [`hijack`] | handing the socket to the app |
//! | [`origin`] | which web pages may open a WebSocket |
//! | [`files`] | static files |
//! | [`request`] | a request on its way to the app |
//! | [`answer`] | the way back |
//! | [`head`] | the head of a response, before a protocol has written it |
//! | [`response`] | the app's answer, checked |
//! | [`body`] | response bodies, ready or still being made |

mod answer;
pub mod body;
pub mod budget;
pub mod connection;
mod entries;
pub mod files;
pub mod framing;
pub mod h1;
pub mod head;
pub mod headers;
pub mod hijack;
pub mod long_poll;
pub mod origin;
pub mod request;
pub mod response;
pub mod service;
pub mod socket;
pub mod spool;
pub mod upgrade;
mod upload;
pub mod validate;
pub mod watch;

use std::sync::Arc;

pub use body::{BodyWriter, Pushed};
pub use request::{Acceptance, Request, Responder};
pub use response::{HeadError, Response};

use crate::access_log::AccessLog;
use crate::{base, push};

/// Where requests are handed to workers.
pub trait Dispatch: Send + Sync {
    /// Queues `request` for a worker, or hands it back if too many wait. Must not block.
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>>;
}

/// What all connections of a server share.
pub struct Context {
    /// What all parts of the server share.
    pub base: Arc<base::Context>,
    /// What push connections share.
    pub push: Arc<push::Context>,
    /// Where requests are logged; `None` is nowhere.
    pub access_log: Option<AccessLog>,
    /// The workers.
    pub dispatch: Arc<dyn Dispatch>,
    /// Pages that may open a WebSocket beside the server's own.
    pub origins: origin::Allowed,
    /// Files served before the app is asked.
    pub files: Option<files::PublicDir>,
    /// What request bodies may take of the temporary folder.
    pub budget: Arc<budget::Budget>,
    /// The parameter of a query that makes an event stream a long poll; `None`: there are none.
    pub poll_parameter: Option<String>,
}
