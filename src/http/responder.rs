//! How an app answers a request. There are several ways, and it can use one of them once.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use http::StatusCode;

use super::body::BodyWriter;
use super::exchange::{PendingStream, Reply, ReplySender, Takeover};
use super::head::ResponseHead;
use super::hijack::{AppEnd, Hijack, Hijacked};
use super::long_poll::PendingPoll;
use super::response::Response;
use super::response_headers::ResponseHeaders;
use super::upgrade::{self, WebSocketHead};
use crate::net::Peer;
use crate::push::accept::{self, Accepted};
use crate::push::inflaters::InflaterPlace;
use crate::push::poll::{Owner, Poll};
use crate::push::{Client, EventInterest, Protocol};
use crate::request_head::{Method, RequestHead};
use crate::websocket::deflate::Agreement;

/// Answers a request. If it is dropped without an answer, the client gets 500. Any thread.
pub struct Responder {
    pub(super) reply: ReplySender,
    pub(super) method: Method,
    /// The Sec-WebSocket-Accept of a WebSocket's handshake.
    pub(super) accept: String,
    /// The request is a long poll.
    pub(super) poll: Option<Box<Poll>>,
}

/// A connection that the app takes over.
#[derive(Debug)]
pub enum Hijacking {
    /// The app has it.
    Done(Hijacked),
    /// The app gets it when earlier responses and the head are written. The receiver is disconnected if the connection
    /// breaks first.
    Waiting(Receiver<Hijacked>),
}

impl Responder {
    /// Sends an ordinary response. Returns false if the connection is known to be gone.
    pub fn respond(self, response: Response) -> bool {
        if let Some(poll) = self.poll {
            poll.refuse();
        }
        self.reply.send(Reply::Response(response))
    }

    /// Sends the head of `response`. The body is sent while it is written to the returned writer.
    pub fn stream(self, response: Response) -> BodyWriter {
        let (writer, response) = response.with_stream(Arc::clone(self.reply.push()));
        self.respond(response);
        writer
    }

    /// The request's method, which decides whether a response has a body.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Takes the connection's socket for the app. Earlier responses, and the head of `response` if there is one, are
    /// written first.
    ///
    /// If there is nothing to write first, and no bytes after the request were read, this does not wait for the
    /// reactor, and costs one system call. Nor does it wait if the connection is encrypted and has no `response`: then the app
    /// has one end of a pair of sockets at once.
    pub fn hijack(mut self, response: Option<Response>) -> Hijacking {
        if let Some(poll) = self.poll {
            poll.refuse();
        }
        if response.is_none()
            && let Some(hijacked) = self.reply.try_hijack()
        {
            return Hijacking::Done(hijacked);
        }
        // Without a descriptor to spare, the app waits and is told so.
        if response.is_none()
            && self.reply.copies_if_hijacked()
            && let Ok((app, hijacked)) = AppEnd::pair()
        {
            self.reply.send(Reply::Takeover(Takeover::Hijack(Box::new(Hijack { head: None, app }))));
            return Hijacking::Done(hijacked);
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        // A failure drops the sender, which disconnects the receiver.
        let hijack = Hijack { head: response.map(Response::into_head), app: AppEnd::Awaited(sender) };
        self.reply.send(Reply::Takeover(Takeover::Hijack(Box::new(hijack))));
        Hijacking::Waiting(receiver)
    }

    /// Sends an informational response (103 Early Hints, RFC 8297) before the final one, if that is possible at once.
    /// Late hints would be useless.
    pub fn inform(&self, headers: ResponseHeaders) {
        self.reply.inform(&ResponseHead::new(StatusCode::EARLY_HINTS, headers));
    }

    /// Sets the user that a long poll's session belongs to. Has no effect on other requests.
    pub fn set_owner(&mut self, owner: Owner) {
        if let Some(poll) = &mut self.poll {
            poll.set_owner(owner);
        }
    }

    /// Accepts a long poll that continues its session, which has a client already. `app` has the headers of the app's
    /// response. If the poll's owner has no such session, the responder is returned.
    pub fn resume(mut self, app: &ResponseHeaders) -> Result<(), Self> {
        match self.poll.as_mut().and_then(|poll| poll.resume()) {
            Some(answer) => {
                self.reply.send(Reply::Poll(Box::new(PendingPoll::new(app, answer, None))));
                Ok(())
            }
            None => Err(self),
        }
    }

    /// Accepts the upgrade: makes the client. Its connection begins with [`Acceptance::send`].
    ///
    /// `request` is the head of the request, `app` the headers of the app's response. Unless the handler says `compress`, the
    /// server does not agree to compress messages.
    pub fn accept(
        self,
        protocol: Protocol,
        peer: Peer,
        request: &RequestHead,
        app: &ResponseHeaders,
        interest: EventInterest,
        compress: bool,
    ) -> Acceptance {
        let subprotocol = upgrade::subprotocol(protocol, request, app);
        let last_event_id = upgrade::last_event_id(request);
        let last_event_id = last_event_id.as_deref();
        let deflate = if compress { self.negotiate_deflate(protocol, request) } else { None };
        let agreed = deflate.as_ref().map(|(agreed, _)| *agreed);
        let accepted =
            accept::Request { protocol, subprotocol, deflate, last_event_id, peer, interest, poll: self.poll };
        let (client, accepted) = accept::accept(self.reply.push(), accepted);
        let reply = match accepted {
            Accepted::Poll(start, answer) => Reply::Poll(Box::new(PendingPoll::new(app, answer, Some(start)))),
            Accepted::Stream(client) => {
                let websocket = WebSocketHead { accept: &self.accept, subprotocol, deflate: agreed };
                let head = upgrade::head(protocol, &websocket, app);
                Reply::Takeover(Takeover::Stream(Box::new(PendingStream { client, head })))
            }
        };
        Acceptance { sender: self.reply, reply, client }
    }

    /// How messages of a WebSocket are compressed, and the place of a client that refers to its earlier messages.
    fn negotiate_deflate(
        &self,
        protocol: Protocol,
        request: &RequestHead,
    ) -> Option<(Agreement, Option<InflaterPlace>)> {
        let push = self.reply.push();
        let offer = if push.compression { upgrade::deflate_offer(protocol, request)? } else { return None };
        let place = if offer.wants_window() { InflaterPlace::take(push) } else { None };
        Some((offer.accept(place.is_some()), place))
    }

    /// How long a client that cannot be served now should wait before it reconnects, in milliseconds.
    pub(super) fn reconnect_delay(&self) -> u64 {
        self.reply.push().reconnect_delay.pause()
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An accepted upgrade that has not been sent.
pub struct Acceptance {
    sender: ReplySender,
    reply: Reply,
    client: Arc<Client>,
}

impl Acceptance {
    /// The client, whose connection has not begun.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Gives the client to its connection, which writes the handshake and then posts `Open`.
    ///
    /// If the connection is gone, [`crate::push::Event::Abandoned`] is posted instead, now or later.
    pub fn send(self) {
        // If this fails, the reply is dropped, which notifies the client.
        self.sender.send(self.reply);
    }
}
