//! What happens to a request, step by step: validation, upgrade, files, body, app.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::answer::{Answer, ReplySender};
use super::body::{Body, Sending};
use super::long_poll::{self, Polled};
use super::request::{Reply, Request, RequestBody, Responder};
use super::response::Response;
use super::upgrade::Detected;
use super::watch::Watch;
use super::{Context, upgrade, upload, validate};
use crate::net::{ListenerId, Peer};
use crate::push::Protocol;
use crate::sse;

/// The service of one connection.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) context: Arc<Context>,
    pub(super) peer: Peer,
    pub(super) listener: ListenerId,
    pub(super) watch: Arc<Watch>,
}

impl hyper::service::Service<http::Request<Incoming>> for Service {
    type Response = http::Response<Sending>;
    type Error = Infallible;
    type Future = Exchange;

    fn call(&self, request: http::Request<Incoming>) -> Exchange {
        let (head, body) = request.into_parts();
        let (method, version) = (head.method.clone(), head.version);
        let refused = self.watch.called();
        if let Some(log) = &self.context.access_log {
            self.watch.log(log.begin(self.peer, refused.is_none().then_some(&head)));
        }
        let stage = match refused {
            Some(status) => Stage::Answered(Box::new(self.refuse(status))),
            None => self.begin(head, body),
        };
        Exchange { method, version, watch: Arc::clone(&self.watch), stage }
    }
}

/// A request and its response to be. Written by hand: most requests can be handed to the app at once,
/// and an async block would take an allocation of kilobytes for each.
pub(super) struct Exchange {
    method: Method,
    version: Version,
    watch: Arc<Watch>,
    stage: Stage,
}

/// How far an exchange has come.
enum Stage {
    /// There is a response.
    Answered(Box<Response>),
    /// The app has the request.
    Asked(Answer),
    /// A long poll waits for something to say.
    Polling(Box<Polled>),
    /// A file is looked for, or the body is read.
    Preparing(Pin<Box<dyn Future<Output = Stage> + Send>>),
    /// The response is sent, or the connection is about to be something else.
    Over,
}

impl Future for Exchange {
    type Output = Result<http::Response<Sending>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            this.stage = match &mut this.stage {
                Stage::Preparing(preparing) => ready!(preparing.as_mut().poll(cx)),
                Stage::Asked(answer) => match ready!(Pin::new(answer).poll(cx)) {
                    Some(Reply::Response(response)) => Stage::Answered(response),
                    Some(Reply::Takeover(takeover)) => {
                        this.watch.take_over(takeover);
                        Stage::Over
                    }
                    Some(Reply::Poll(mut polled)) => {
                        this.watch.polls();
                        polled.begin();
                        Stage::Polling(polled)
                    }
                    // The worker was killed, or the server is being stopped.
                    None => Stage::Answered(Box::new(Response::plain(StatusCode::INTERNAL_SERVER_ERROR).and_close())),
                },
                Stage::Polling(polled) => Stage::Answered(Box::new(ready!(Pin::new(polled.as_mut()).poll(cx)))),
                Stage::Answered(_) => {
                    let Stage::Answered(response) = std::mem::replace(&mut this.stage, Stage::Over) else { continue };
                    let in_progress = this.watch.answered(response.head.status, response.is_streaming());
                    return Poll::Ready(Ok(response.into_hyper(&this.method, this.version, in_progress)));
                }
                // The connection drops this future when it takes the socket.
                Stage::Over => return Poll::Pending,
            };
        }
    }
}

impl Service {
    /// Answers in place of a head that the scanner refused.
    fn refuse(&self, status: StatusCode) -> Response {
        let stats = &self.context.base.stats;
        let (counter, why) = match status {
            StatusCode::URI_TOO_LONG => (&stats.uri_too_long, "the target is too long (max_uri_size)"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                (&stats.head_too_large, "the head is too large (max_head_size)")
            }
            // Counted where the time ran out.
            StatusCode::REQUEST_TIMEOUT => return Response::plain(status).and_close(),
            _ => (&stats.refused_heads, "the head is not acceptable"),
        };
        counter.add();
        log::debug!("{status} to {}: {why}", self.peer);
        Response::plain(status).and_close()
    }

    /// The answer to a request whose body could not be read: the scanner's, if the framing was broken, otherwise
    /// `response`.
    fn refuse_body(&self, response: Box<Response>) -> Box<Response> {
        let stats = &self.context.base.stats;
        let response = match self.watch.body_breach() {
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

    /// Goes as far as can be gone at once.
    fn begin(&self, head: Parts, body: Incoming) -> Stage {
        let stats = &self.context.base.stats;
        stats.requests.add();
        if let Some(response) = validate::refusal(&head) {
            stats.refused_heads.add();
            return Stage::Answered(Box::new(response));
        }
        let upgrade = match upgrade::detect(&head, &self.context.origins) {
            Detected::Nothing => None,
            Detected::Sse => Some((Protocol::Sse, String::new())),
            Detected::WebSocket(accept) => Some((Protocol::WebSocket, accept)),
            Detected::Refused(response) => {
                if response.head.status == StatusCode::FORBIDDEN {
                    stats.foreign_origins.add();
                }
                return Stage::Answered(response);
            }
        };
        let may_be_file = upgrade.is_none() && self.context.files.is_some();
        if !may_be_file && body.is_end_stream() {
            return self.ask(head, RequestBody::Memory(Bytes::new()), upgrade);
        }
        Stage::Preparing(Box::pin(self.clone().prepare(head, body, upgrade)))
    }

    async fn prepare(self, head: Parts, body: Incoming, upgrade: Option<(Protocol, String)>) -> Stage {
        if upgrade.is_none()
            && let Some(files) = &self.context.files
        {
            // The body is not read meanwhile.
            self.watch.hold_body(true);
            let found = files.respond(&head, &self.context.push).await;
            self.watch.hold_body(false);
            if let Some(response) = found {
                return Stage::Answered(Box::new(response));
            }
        }
        let body = match upload::read(body, &self.context, &self.watch).await {
            Ok(body) => body,
            Err(response) => return Stage::Answered(self.refuse_body(response)),
        };
        self.ask(head, body, upgrade)
    }

    /// Hands the request to the app.
    fn ask(&self, head: Parts, body: RequestBody, upgrade: Option<(Protocol, String)>) -> Stage {
        let (upgrade, accept) = upgrade.map_or((None, String::new()), |(protocol, accept)| (Some(protocol), accept));
        let answer = Answer::new(Arc::clone(&self.watch));
        let poll = upgrade.and_then(|protocol| long_poll::detect(protocol, &head, &self.context)).map(Box::new);
        let reply = ReplySender::new(Arc::clone(&self.watch));
        let responder = Responder { reply, method: head.method.clone(), accept, poll };
        let request = Request { head, body, peer: self.peer, listener: self.listener, upgrade, responder };
        if let Err(request) = self.context.dispatch.dispatch(Box::new(request)) {
            let push = &self.context.push;
            push.base.stats.queue_full.add();
            log::debug!(
                "503: {} requests wait for a worker (max_queue), or there is no worker",
                push.base.limits.max_queue
            );
            return Stage::Answered(Box::new(overloaded(&request, push.reconnect_delay.pause())));
        }
        Stage::Asked(answer)
    }
}

/// A browser's EventSource never comes back after any status but 200: it gets a stream that tells it when to, and ends.
/// An EventSource always uses GET. A client with another method would take an empty stream for its answer: it gets 503.
pub(super) fn overloaded(request: &Request, pause: u64) -> Response {
    if request.upgrade != Some(Protocol::Sse) || request.head.method != Method::GET {
        return Response::unavailable();
    }
    let headers = sse::headers(&http::HeaderMap::new());
    Response::of(StatusCode::OK, headers, Body::from_bytes(sse::retry(pause)))
}
