//! A request on its way to the app.

use std::sync::Arc;

use super::responder::Responder;
use super::response::Response;
pub use super::spool::RequestBody;
use crate::net::tls::ClientCertificate;
use crate::net::{ListenerId, Peer};
use crate::push::Protocol;
use crate::request_head::{Method, RequestHead};

/// A request, ready for the app.
#[derive(Debug)]
pub struct Request {
    /// Request line and headers.
    pub head: RequestHead,
    /// The complete body.
    pub body: RequestBody,
    /// The client's address.
    pub peer: Peer,
    /// Whether the client used https, if a trusted proxy says so and it is not the connection's own scheme.
    pub https: Option<bool>,
    /// The certificate with which the client has come, if it has shown one. It was verified.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// The listener that has accepted the connection.
    pub listener: ListenerId,
    /// What it can be upgraded to.
    pub upgrade: Option<Protocol>,
    /// Answers the request.
    pub responder: Responder,
}

/// Gives requests to app threads.
pub trait Dispatch: Send + Sync {
    /// Queues `request` for an app thread. Returns it if too many requests wait. Must not block.
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>>;
}

impl Request {
    /// Answers that no app thread is free. See [`Request::overloaded`].
    pub fn refuse(self: Box<Self>) {
        let response = self.overloaded();
        self.responder.respond(response);
    }

    /// The response if no app thread is free. An EventSource never reconnects after a status other than 200. So it gets a
    /// stream that says when to reconnect, and ends. An EventSource always uses GET. A client that uses another method
    /// would take an empty stream for the response, so it gets 503.
    pub(super) fn overloaded(&self) -> Response {
        match self.upgrade {
            Some(Protocol::Sse) if self.head.method() == Method::Get => {
                Response::retry(self.responder.reconnect_delay())
            }
            _ => Response::unavailable(),
        }
    }
}
