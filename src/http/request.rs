//! A request on its way to the app, and the way back.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Receiver;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::answer::ReplySender;
use super::body::BodyWriter;
use super::h1::write_head;
use super::head::ResponseHead;
use super::hijack::{Hijack, Hijacked};
use super::long_poll::{Polled, poll_headers};
use super::response::Response;
use super::service::overloaded;
use super::spool::Spooled;
use super::upgrade;
use crate::channel::Form;
use crate::net::{ListenerId, Peer};
use crate::push::poll::{self, Owner, Poll};
use crate::push::{Client, Interest, Negotiated, Protocol, SUBPROTOCOL};

/// A request body, whole.
#[derive(Debug)]
pub enum RequestBody {
    /// Short enough for memory.
    Memory(Bytes),
    /// In an unlinked temporary file, positioned at its start.
    Spooled(Spooled),
}

impl RequestBody {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            RequestBody::Memory(bytes) => bytes.len() as u64,
            RequestBody::Spooled(spooled) => spooled.length(),
        }
    }

    /// No bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

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

impl Request {
    /// Answers that no worker can run it now.
    pub fn refuse(self: Box<Self>) {
        let pause = self.responder.reply.context().push.reconnect_delay.pause();
        let response = overloaded(&self, pause);
        self.responder.respond(response);
    }
}

/// What an app decided.
#[derive(Debug)]
pub(super) enum Reply {
    Response(Box<Response>),
    Takeover(Takeover),
    Poll(Box<Polled>),
}

/// What becomes of the socket when HTTP is over.
#[derive(Debug)]
pub(super) enum Takeover {
    /// It becomes a client's stream.
    Stream(Upgrade),
    /// The app gets it.
    Hijack(Hijack),
}

/// An accepted upgrade, on its way to the connection. Dropped on the way, wherever it is then, its
/// client is told.
#[derive(Debug)]
pub(super) struct Upgrade(Option<(Arc<Client>, Bytes)>);

impl Upgrade {
    /// The client, and the head to write: for the stream that takes over.
    pub(super) fn arrive(mut self) -> Option<(Arc<Client>, Bytes)> {
        self.0.take()
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Some((client, _)) = self.0.take() {
            client.abandon();
        }
    }
}

/// The way back from the app to the connection. Dropped without an answer, the client gets 500.
pub struct Responder {
    pub(super) reply: ReplySender,
    pub(super) method: Method,
    pub(super) accept: String,
    /// It asks to wait.
    pub(super) poll: Option<Box<Poll>>,
}

impl Responder {
    /// Sends an ordinary response. False if the connection is known to be gone.
    pub fn respond(self, response: Response) -> bool {
        if let Some(poll) = self.poll {
            poll.refuse();
        }
        self.reply.send(Reply::Response(Box::new(response)))
    }

    /// Sends the head of `response`, and what is written to its body as it is written.
    pub fn stream(self, response: Response) -> BodyWriter {
        let wakeups = Arc::clone(&self.reply.context().base.wakeups);
        let (writer, response) = response.with_stream(wakeups);
        self.respond(response);
        writer
    }

    /// The request's method, which decides whether a response has a body.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Takes the connection's socket for the app, once earlier responses are written and the head
    /// of `response`, if there is one, after them. The receiver is disconnected if the connection
    /// breaks first.
    pub fn hijack(self, response: Option<Response>) -> Receiver<Hijacked> {
        if let Some(poll) = self.poll {
            poll.refuse();
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let head = response.map(Response::into_head);
        let status = head.as_ref().map(|head| head.status);
        let head = head.map(|head| write_head(&head)).unwrap_or_default();
        // A failure drops the sender, which says it all.
        self.reply.send(Reply::Takeover(Takeover::Hijack(Hijack { status, head, receiver: sender })));
        receiver
    }

    /// Sends an informational response (103 Early Hints, RFC 8297) ahead of the final one, if that can be done
    /// at once: hints are only worth it early.
    pub fn inform(&self, headers: HeaderMap) {
        let head = ResponseHead::new(StatusCode::EARLY_HINTS, headers);
        self.reply.watch().inform(write_head(&head));
    }

    /// Sets the user to whom a long poll's session belongs. Has no effect on other requests.
    pub fn set_owner(&mut self, owner: Owner) {
        if let Some(poll) = &mut self.poll {
            poll.set_owner(owner);
        }
    }

    /// Accepts a long poll that goes on with its session, with the headers of the app's response:
    /// then there is a client already. If there is no such session of its owner, the responder is handed back.
    pub fn resume(mut self, app: &HeaderMap) -> Result<(), Self> {
        match self.poll.as_mut().and_then(|poll| poll.resume()) {
            Some(answer) => {
                self.reply.send(Reply::Poll(Box::new(Polled::new(poll_headers(app), answer, None))));
                Ok(())
            }
            None => Err(self),
        }
    }

    /// Accepts the upgrade: makes the client, which lives once [`Acceptance::send`] was called.
    ///
    /// `request` is the head of the request, `app` the headers of the app's response.
    pub fn accept(
        self,
        protocol: Protocol,
        peer: Peer,
        request: &Parts,
        app: &HeaderMap,
        interest: Interest,
    ) -> Acceptance {
        let subprotocol = upgrade::subprotocol(protocol, &request.headers, app);
        let form = match (protocol, subprotocol) {
            (Protocol::Sse, _) => Form::Sse,
            (Protocol::WebSocket, Some(SUBPROTOCOL)) => Form::Push,
            (Protocol::WebSocket, _) => Form::Raw,
        };
        let since = poll::since(upgrade::last_event_id(request).as_deref());
        let negotiated = Negotiated { protocol, form, since, polls: self.poll.is_some() };
        let client = Client::new(Arc::clone(&self.reply.context().push), negotiated, peer, interest);
        let answer = match self.poll {
            Some(poll) => {
                let (start, answer) = poll.begin(Arc::clone(&client));
                Reply::Poll(Box::new(Polled::new(poll_headers(app), answer, Some(start))))
            }
            None => {
                let head = write_head(&upgrade::head(protocol, &self.accept, subprotocol, app));
                Reply::Takeover(Takeover::Stream(Upgrade(Some((Arc::clone(&client), head)))))
            }
        };
        Acceptance { reply: self.reply, answer, client }
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An accepted upgrade that has not been sent.
pub struct Acceptance {
    reply: ReplySender,
    answer: Reply,
    client: Arc<Client>,
}

impl Acceptance {
    /// The client that is being made.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Hands the client to its connection: its handshake is written, then `Open` is posted.
    ///
    /// If the connection is gone, [`crate::push::Event::Abandoned`] is posted instead, now or later.
    pub fn send(self) {
        // A failure drops what was made, which tells its client.
        self.reply.send(self.answer);
    }
}
