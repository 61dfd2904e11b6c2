//! A request on its way to the app.

use http::request::Parts;

use super::responder::Responder;
use super::response::Response;
pub use super::spool::RequestBody;
use crate::net::{ListenerId, Peer};
use crate::push::Protocol;

/// A request, ready for the app.
#[derive(Debug)]
pub struct Request {
    /// Request line and headers.
    pub head: Parts,
    /// The body, read whole.
    pub body: RequestBody,
    /// Where it comes from.
    pub peer: Peer,
    /// Where its connection came in.
    pub listener: ListenerId,
    /// What it can be upgraded to.
    pub upgrade: Option<Protocol>,
    /// The way back.
    pub responder: Responder,
}

/// Where requests are handed to workers.
pub trait Dispatch: Send + Sync {
    /// Queues `request` for a worker, or hands it back if too many wait. Must not block.
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>>;
}

impl Request {
    /// Answers that no worker can run it now.
    pub fn refuse(self: Box<Self>) {
        let response = self.overloaded();
        self.responder.respond(response);
    }

    /// The answer that no worker can run it now. A browser's EventSource never comes back after any status but 200: it
    /// gets a stream that says when to come back, and ends. An EventSource always uses GET. A client with another method
    /// would take an empty stream for its answer: it gets 503.
    pub(super) fn overloaded(&self) -> Response {
        match self.upgrade {
            Some(Protocol::Sse) if self.head.method == http::Method::GET => {
                Response::retry(self.responder.reconnect_delay())
            }
            _ => Response::unavailable(),
        }
    }
}
