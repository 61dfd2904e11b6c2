//! How a client is made, once the app has accepted a request.

use std::sync::Arc;

pub use super::pending::PendingClient;

use super::inflaters::InflaterPlace;
use super::poll::{self, Answer, Poll, Start};
use super::{Client, Context, EventInterest, Negotiated, Protocol, SUBPROTOCOL};
use crate::channel::{Encoding, Shape};
use crate::net::Peer;
use crate::websocket::deflate::Agreement;

/// A request that the app has accepted.
#[derive(Debug)]
pub struct Request<'a> {
    /// The protocol that the request asks for.
    pub protocol: Protocol,
    /// The subprotocol of a WebSocket, if there is one.
    pub subprotocol: Option<&'a str>,
    /// How a WebSocket compresses messages, and the place for what the client keeps.
    pub deflate: Option<(Agreement, Option<InflaterPlace>)>,
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

/// Makes the client. When its connection takes it, `Open` is posted. If that fails, `Abandoned` is posted.
pub fn accept(context: &Arc<Context>, request: Request<'_>) -> (Arc<Client>, Accepted) {
    let shape = match (request.protocol, request.subprotocol) {
        (Protocol::Sse, _) => Shape::EventStream,
        (Protocol::WebSocket, Some(SUBPROTOCOL)) => Shape::PushV1,
        (Protocol::WebSocket, _) => Shape::Raw,
    };
    let since = poll::since(request.last_event_id);
    let (deflate, place) = request.deflate.unzip();
    let encoding = Encoding { shape, deflate: deflate.map(|agreement| agreement.window()) };
    let polls = request.poll.is_some();
    let negotiated = Negotiated { protocol: request.protocol, encoding, deflate, since, polls };
    let client = Client::new(Arc::clone(context), negotiated, request.peer, request.interest);
    if let Some(place) = place.flatten() {
        client.keep_place(place);
    }
    let accepted = match request.poll {
        Some(poll) => {
            let (start, answer) = poll.begin(Arc::clone(&client));
            Accepted::Poll(start, answer)
        }
        None => Accepted::Stream(PendingClient::new(Arc::clone(&client))),
    };
    (client, accepted)
}
