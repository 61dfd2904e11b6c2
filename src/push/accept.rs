//! How a client is made, once the app has accepted a request.

use std::sync::Arc;

use super::poll::{self, Answer, Poll, Start};
use super::{Client, Context, EventInterest, Negotiated, Protocol, SUBPROTOCOL};
use crate::channel::Shape;
use crate::net::Peer;

/// A request that the app has accepted.
#[derive(Debug)]
pub struct Request<'a> {
    /// The protocol that the request asks for.
    pub protocol: Protocol,
    /// The subprotocol of a WebSocket, if there is one.
    pub subprotocol: Option<&'a str>,
    /// The id of the last event that the client has got, as it says itself.
    pub last_event_id: Option<&'a str>,
    /// The client's address.
    pub peer: Peer,
    /// Which callbacks the app's handler has.
    pub interest: EventInterest,
    /// The request is a long poll.
    pub poll: Option<Box<Poll>>,
}

/// How a new client gets its connection.
#[derive(Debug)]
pub enum Accepted {
    /// The connection becomes a stream.
    Stream(PendingClient),
    /// The request is the first poll of a session. The session must be spawned; the answer is the poll's response.
    Poll(Start, Answer),
}

/// A client that has no connection yet. If this is dropped before, `Abandoned` is posted to the client.
#[derive(Debug)]
pub struct PendingClient(Option<Arc<Client>>);

impl PendingClient {
    /// The connection takes the client.
    pub fn arrive(mut self) -> Option<Arc<Client>> {
        self.0.take()
    }
}

impl Drop for PendingClient {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            client.abandon();
        }
    }
}

/// Makes the client. When its connection takes it, `Open` is posted. If that fails, `Abandoned` is posted.
pub fn accept(context: &Arc<Context>, request: Request<'_>) -> (Arc<Client>, Accepted) {
    let shape = match (request.protocol, request.subprotocol) {
        (Protocol::Sse, _) => Shape::EventStream,
        (Protocol::WebSocket, Some(SUBPROTOCOL)) => Shape::PushV1,
        (Protocol::WebSocket, _) => Shape::Raw,
    };
    let since = poll::since(request.last_event_id);
    let negotiated =
        Negotiated { protocol: request.protocol, encoding: shape.into(), since, polls: request.poll.is_some() };
    let client = Client::new(Arc::clone(context), negotiated, request.peer, request.interest);
    let accepted = match request.poll {
        Some(poll) => {
            let (start, answer) = poll.begin(Arc::clone(&client));
            Accepted::Poll(start, answer)
        }
        None => Accepted::Stream(PendingClient(Some(Arc::clone(&client)))),
    };
    (client, accepted)
}
