//! What happens to a request, step by step: validation, upgrade, files, body, app. The same for all protocols.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use http::StatusCode;

use super::context::Context;
use super::exchange::{Reply, ReplyReceiver, ReplySender, Takeover};
use super::long_poll::{self, PendingPoll};
use super::request::Request;
use super::responder::Responder;
use super::response::Response;
use super::spool::RequestBody;
use super::upgrade::{self, Detected};
use super::upload::IncomingBody;
use super::{upload, validate};
use crate::net::tls::ClientCertificate;
use crate::net::{ListenerId, Peer, Socket};
use crate::push::Protocol;
use crate::push::catching_up::CatchingUp;
use crate::request_head::RequestHead;

/// Serves the requests of one connection.
#[derive(Clone)]
pub(super) struct RequestService {
    pub(super) context: Arc<Context>,
    /// The client of the current request.
    pub(super) peer: Peer,
    /// See [`Request::https`].
    pub(super) https: Option<bool>,
    /// Whether the connection is encrypted.
    pub(super) encrypted: bool,
    /// See [`Request::client_certificate`].
    pub(super) client_certificate: Option<Arc<ClientCertificate>>,
    pub(super) listener: ListenerId,
}

impl RequestService {
    /// For the requests that come by `socket`.
    pub(super) fn new(context: Arc<Context>, socket: &Socket, peer: Peer, listener: ListenerId) -> Self {
        let (encrypted, client_certificate) = (socket.is_encrypted(), socket.client_certificate());
        RequestService { context, peer, https: None, encrypted, client_certificate, listener }
    }
}

/// The outcome of a request.
pub(super) enum Answer {
    /// A response.
    Response(Response),
    /// HTTP is over on this connection, and something else takes it over.
    Takeover(Takeover),
}

/// A request that is being handled. This future is written by hand: most requests can be given to the app at once, and
/// an async block would allocate kilobytes for each of them.
pub(super) struct Handling(Stage);

/// How far a request has come.
enum Stage {
    /// There is a response.
    Answered(Response),
    /// The app has the request.
    Asked(ReplyReceiver),
    /// A long poll waits for a message.
    Polling(Box<PendingPoll>),
    /// A file is being looked up, or the body is being read.
    Preparing(Pin<Box<dyn Future<Output = Stage> + Send>>),
    /// The answer was returned.
    Over,
}

impl Handling {
    /// A request that has its response already.
    pub(super) fn answered(response: Response) -> Self {
        Handling(Stage::Answered(response))
    }

    /// Whether it is a long poll that waits for a message.
    pub(super) fn is_polling(&self) -> bool {
        matches!(self.0, Stage::Polling(_))
    }

    /// The answer, once there is one. After that, it is pending for ever.
    // Each request of HTTP/1 comes here. HTTP/2 has a copy of its own.
    #[inline(always)]
    pub(super) fn poll_answer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Answer> {
        loop {
            self.0 = match &mut self.0 {
                Stage::Preparing(preparing) => ready!(preparing.as_mut().poll(cx)),
                Stage::Asked(receiver) => match ready!(Pin::new(&mut *receiver).poll(cx)) {
                    Some(Reply::Response(response)) => Stage::Answered(response),
                    Some(Reply::Takeover(takeover)) => {
                        self.0 = Stage::Over;
                        return Poll::Ready(Answer::Takeover(takeover));
                    }
                    Some(Reply::Poll(mut poll)) => {
                        receiver.connection().begin_long_poll();
                        poll.begin();
                        Stage::Polling(poll)
                    }
                    // The app thread was killed, or the server is being stopped.
                    None => Stage::Answered(Response::plain(StatusCode::INTERNAL_SERVER_ERROR).and_close()),
                },
                Stage::Polling(poll) => Stage::Answered(ready!(Pin::new(poll.as_mut()).poll(cx))),
                Stage::Answered(_) => {
                    let Stage::Answered(response) = std::mem::replace(&mut self.0, Stage::Over) else { continue };
                    return Poll::Ready(Answer::Response(response));
                }
                Stage::Over => return Poll::Pending,
            };
        }
    }
}

impl RequestService {
    /// Does what is possible without waiting. `sender` and `receiver` are the ends of the request's slot.
    pub(super) fn begin(
        &self,
        head: RequestHead,
        mut body: impl IncomingBody,
        (sender, receiver): (ReplySender, ReplyReceiver),
    ) -> Handling {
        let upgrade = match self.look_at(&head) {
            Ok(upgrade) => upgrade,
            Err(response) => return Handling(Stage::Answered(*response)),
        };
        // Most requests.
        if upgrade.is_none()
            && self.context.files.is_none()
            && let Some(whole) = body.take_whole()
        {
            return Handling(self.ask(head, RequestBody::Memory(whole), upgrade, sender, receiver));
        }
        Handling(self.begin_to_prepare(head, body, upgrade, (sender, receiver)))
    }

    /// The request may ask for an event stream or a file, or its body is not there yet. It is not a part of `begin`, which
    /// should be short for most requests.
    #[inline(never)]
    fn begin_to_prepare(
        &self,
        head: RequestHead,
        mut body: impl IncomingBody,
        upgrade: Option<(Protocol, String)>,
        (sender, receiver): (ReplySender, ReplyReceiver),
    ) -> Stage {
        let catching_up = upgrade
            .as_ref()
            .and_then(|_| CatchingUp::begin(&self.context.push, upgrade::last_event_id(&head).as_deref()));
        if upgrade.is_some()
            && catching_up.is_none()
            && let Some(whole) = body.take_whole()
        {
            return self.ask(head, RequestBody::Memory(whole), upgrade, sender, receiver);
        }
        Stage::Preparing(Box::pin(self.clone().prepare(head, body, upgrade, catching_up, (sender, receiver))))
    }

    /// What the request can be upgraded to, with the Sec-WebSocket-Accept; or the response that refuses it. It is not a part of
    /// `begin`, of which each kind of body has a copy.
    fn look_at(&self, head: &RequestHead) -> Result<Option<(Protocol, String)>, Box<Response>> {
        let stats = &self.context.base.stats;
        stats.requests.add();
        if let Some(response) = validate::refusal(head) {
            stats.refused_heads.add();
            return Err(Box::new(response));
        }
        match upgrade::detect(head, &self.context.origins) {
            Detected::Nothing => Ok(None),
            Detected::Sse => Ok(Some((Protocol::Sse, String::new()))),
            Detected::WebSocket(accept) => Ok(Some((Protocol::WebSocket, accept))),
            Detected::Refused(response) => {
                if response.head.status == StatusCode::FORBIDDEN {
                    stats.foreign_origins.add();
                }
                Err(response)
            }
        }
    }

    async fn prepare(
        self,
        head: RequestHead,
        body: impl IncomingBody,
        upgrade: Option<(Protocol, String)>,
        catching_up: Option<CatchingUp>,
        (sender, receiver): (ReplySender, ReplyReceiver),
    ) -> Stage {
        if upgrade.is_none()
            && let Some(files) = &self.context.files
        {
            // Meanwhile the body is not read.
            receiver.connection().hold_body(true);
            let found = files.respond(&head, &self.context.base).await;
            receiver.connection().hold_body(false);
            if let Some(response) = found {
                return Stage::Answered(response);
            }
        }
        match upload::read(body, &self.context, receiver.connection()).await {
            Ok(body) => {
                if let Some(catching_up) = catching_up {
                    catching_up.await;
                }
                self.ask(head, body, upgrade, sender, receiver)
            }
            Err(response) => Stage::Answered(*self.refuse_body(response, receiver.connection().body_breach())),
        }
    }

    /// The response to a request whose body could not be read: `breach` if the body's framing was broken, otherwise
    /// `response`.
    fn refuse_body(&self, response: Box<Response>, breach: Option<StatusCode>) -> Box<Response> {
        let stats = &self.context.base.stats;
        let response = match breach {
            None => response,
            Some(StatusCode::PAYLOAD_TOO_LARGE) => upload::too_large(&self.context.base.limits),
            Some(status) => {
                if status == StatusCode::BAD_REQUEST {
                    stats.refused_heads.add();
                    log::debug!("{status} to {}: the framing of the body is broken", self.peer);
                }
                Box::new(Response::plain(status).and_close())
            }
        };
        if response.head.status == StatusCode::PAYLOAD_TOO_LARGE {
            stats.body_too_large.add();
        }
        response
    }

    /// Gives the request to the app.
    fn ask(
        &self,
        head: RequestHead,
        body: RequestBody,
        upgrade: Option<(Protocol, String)>,
        sender: ReplySender,
        receiver: ReplyReceiver,
    ) -> Stage {
        let (upgrade, accept) = upgrade.map_or((None, String::new()), |(protocol, accept)| (Some(protocol), accept));
        let Context { push, poll_parameter, .. } = &*self.context;
        let poll = upgrade.and_then(|protocol| long_poll::detect(protocol, &head, push, poll_parameter.as_deref()));
        let responder = Responder { reply: sender, method: head.method(), accept, poll: poll.map(Box::new) };
        let client_certificate = self.client_certificate.clone();
        let (peer, https, listener) = (self.peer, self.https, self.listener);
        let request = Request { head, body, peer, https, client_certificate, listener, upgrade, responder };
        if let Err(request) = self.context.dispatch.dispatch(Box::new(request)) {
            let base = &self.context.base;
            base.stats.queue_full.add();
            log::debug!("503: {} requests wait for a thread (max_queue), or there is no thread", base.limits.max_queue);
            return Stage::Answered(request.overloaded());
        }
        Stage::Asked(receiver)
    }
}
