//! The task of one connection that speaks HTTP/2.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::StatusCode;

use super::exchange::{Exchange, Stage};
use super::request_state::{RequestState, Unfinished};
use super::translation::{self, Purpose};
use super::transport::{Transport, Wire};
use super::upload_body::UploadBody;
use crate::base;
use crate::base::lifecycle::Phase;
use crate::base::limits::Limits;
use crate::base::timers::Alarm;
use crate::http::context::Context;
use crate::http::exchange::ReplySlot;
use crate::http::linger::{LINGER, linger};
use crate::http::response::Response;
use crate::http::service::{Handling, RequestService};
use crate::http::{forwarded, refusal};
use crate::net::h2_received::Receiving;
use crate::net::h2_stream::{FrameBatch, H2Connection, SEND_BUFFER};
use crate::net::{Peer, Socket};
use crate::request_head::{Method, RequestHead};

/// What a stream may send before the server has read it (RFC 9113 section 6.9.2).
const STREAM_WINDOW: u32 = 65_535;

/// RFC 9113 section 6.9.1.
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// Starts to serve a connection that begins with the preface of HTTP/2. `unread` was read from the socket already. `guard`
/// is dropped when the connection has ended. Inside the runtime.
pub(in crate::http) fn begin(socket: Socket, unread: Bytes, requests: RequestService, guard: Box<dyn Send + Sync>) {
    tokio::spawn(serve(socket, unread, requests, guard));
}

fn builder(context: &Context) -> h2::server::Builder {
    let limits = &context.base.limits;
    let streams = limits.max_streams as u32;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(streams)
        .initial_window_size(STREAM_WINDOW)
        // So a stream that is not read takes no window from the others.
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams).min(MAX_WINDOW))
        // Twice as much as a head may have: then it is the server that refuses a head, with the right response.
        .max_header_list_size((2 * limits.max_head_size) as u32)
        // The scanner counts resets, over a second. A page that is left may reset many streams at once.
        .max_pending_accept_reset_streams(limits.max_streams)
        .max_send_buffer_size(SEND_BUFFER);
    if context.http2_websocket {
        builder.enable_connect_protocol();
    }
    builder
}

async fn serve(socket: Socket, unread: Bytes, requests: RequestService, guard: Box<dyn Send + Sync>) {
    let context = Arc::clone(&requests.context);
    let base = Arc::clone(&context.base);
    base.stats.h2_connections.add();
    let _open = Open::new(&base);
    let wire = Wire::new(socket, unread, Arc::clone(&base), Arc::clone(&context.h2_received));
    let Some(connection) = handshake(&wire, &context, requests.peer).await else { return };
    let mut serving = Serving::new(connection, Arc::clone(&wire), requests);
    {
        let mut phase = base.lifecycle.receiver();
        let mut draining = pin!(phase.reached(Phase::Draining));
        poll_fn(|cx| {
            if !serving.draining && draining.as_mut().poll(cx).is_ready() {
                serving.drain();
            }
            serving.poll(cx)
        })
        .await;
    }
    drop(serving);
    if let Some(socket) = wire.take_socket()
        && !wire.ended()
    {
        tokio::spawn(linger(socket, Arc::clone(&base.timers), LINGER, guard));
    }
}

/// Waits for the preface, and sends the settings. `None` if the client does not begin in time, or with something else.
async fn handshake(wire: &Arc<Wire>, context: &Context, peer: Peer) -> Option<Connection<Transport, FrameBatch>> {
    let base = &context.base;
    let mut handshake = builder(context).handshake::<_, FrameBatch>(Transport(Arc::clone(wire)));
    let mut alarm = base.timers.alarm();
    let deadline = base.timers.now() + base.limits.head_timeout;
    poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut handshake).poll(cx) {
            let failed =
                |error: &h2::Error| log::debug!("connection from {peer}: the HTTP/2 handshake failed: {error}");
            return Poll::Ready(result.inspect_err(failed).ok());
        }
        if matches!(wire.poll_send(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        if base.timers.now() >= deadline {
            base.stats.head_timeouts.add();
            log::debug!("connection from {peer}: no preface of HTTP/2 within head_timeout");
            return Poll::Ready(None);
        }
        alarm.set(deadline, cx.waker());
        Poll::Pending
    })
    .await
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a base::Context);

impl<'a> Open<'a> {
    fn new(base: &'a base::Context) -> Self {
        base.stats.open_h2_connections.add();
        Open(base)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.stats.open_h2_connections.sub();
    }
}

/// A connection after the preface.
struct Serving {
    h2: Connection<Transport, FrameBatch>,
    wire: Arc<Wire>,
    requests: RequestService,
    alarm: Alarm,
    pings: Option<PingPong>,
    /// When a ping was sent that is not answered.
    pinged_at: Option<Instant>,
    /// Since when there is no stream.
    idle_since: Option<Instant>,
    draining: bool,
    /// GOAWAY was sent, and no stream goes on.
    ending: bool,
    /// The requests that the app has, also those that the client has reset.
    unfinished: Unfinished,
}

impl Drop for Serving {
    /// What the wire watches over refers to the wire.
    fn drop(&mut self) {
        self.wire.forget_unsent();
    }
}

/// The connection is over.
struct Over;

impl Serving {
    fn new(mut h2: Connection<Transport, FrameBatch>, wire: Arc<Wire>, requests: RequestService) -> Self {
        let timers = &requests.context.base.timers;
        let (alarm, idle_since) = (timers.alarm(), Some(timers.now()));
        let pings = h2.ping_pong();
        let unfinished = Unfinished::default();
        let (pinged_at, draining, ending) = (None, false, false);
        Serving { h2, wire, requests, alarm, pings, pinged_at, idle_since, draining, ending, unfinished }
    }

    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self.turn(cx) {
            Ok(()) => Poll::Pending,
            Err(Over) => Poll::Ready(()),
        }
    }

    fn turn(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Over> {
        self.work(cx)?;
        self.wire.relieve();
        if let Some(breach) = self.wire.breach()
            && !self.ending
        {
            let peer = self.requests.peer;
            breach.count(&self.requests.context.base.stats);
            log::debug!("connection from {peer} is ended: {breach}");
            self.end(breach.reason(), cx)?;
        }
        self.keep_deadlines(cx)
    }

    /// Reads, serves and writes as much as possible.
    fn work(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Over> {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.accept(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    log::debug!("connection from {}: {error}", self.requests.peer);
                    self.count_error(&error);
                    return Err(Over);
                }
                Poll::Ready(None) => return Err(Over),
                Poll::Pending => break,
            }
        }
        match self.wire.poll_send(cx) {
            Poll::Ready(Err(_)) => Err(Over),
            _ => Ok(()),
        }
    }

    /// Ends the connection at once: no stream goes on.
    fn end(&mut self, reason: Reason, cx: &mut TaskContext<'_>) -> Result<(), Over> {
        self.ending = true;
        self.h2.abrupt_shutdown(reason);
        self.work(cx)
    }

    /// The server drains: the client is told to open no more streams. Those that are open go on.
    fn drain(&mut self) {
        self.draining = true;
        self.h2.graceful_shutdown();
    }

    /// h2 has ended the connection.
    fn count_error(&self, error: &h2::Error) {
        let stats = &self.requests.context.base.stats;
        if self.ending || !error.is_library() {
            // It was the server or the client that has ended it.
        } else if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
            stats.h2_control_floods.add();
        } else if error.is_go_away() {
            stats.h2_protocol_errors.add();
        }
    }

    fn accept(&mut self, request: http::Request<RecvStream>, mut respond: SendResponse<FrameBatch>) {
        let context = &self.requests.context;
        // Streams that were reset do not count as open, although the app may still have their requests. Twice, because
        // the app may have a request for a moment after its response.
        if self.unfinished.count() >= 2 * context.base.limits.max_streams {
            context.base.stats.h2_refused_streams.add();
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let (mut head, receive) = request.into_parts();
        let receiving = (!receive.is_end_stream()).then(|| Receiving::new(receive, Arc::clone(&context.h2_received)));
        let purpose = match translation::translate(&mut head, &context.base.limits) {
            // It would never send anything, nor end: its end has come already.
            Ok(Purpose::WebSocket) if receiving.is_none() => Err(StatusCode::BAD_REQUEST),
            purpose => purpose,
        };
        let mut head = RequestHead::from_parts(head);
        let own = (self.requests.peer, self.requests.encrypted);
        let (peer, https) = forwarded::client(&mut head, own, &context.trusted_proxies);
        let entry = context.access_log.as_ref().map(|log| log.begin(peer, Some(&head)));
        let state = RequestState::new(Arc::clone(context), Arc::clone(&self.wire), &self.unfinished);
        let method = if purpose == Ok(Purpose::WebSocket) { Method::Connect } else { head.method() };
        let (handling, receiving) = match purpose {
            Err(status) => {
                refusal::record(status, peer, &context.base.stats);
                context.base.stats.requests.add();
                (Handling::answered(Response::plain(status)), receiving)
            }
            Ok(purpose) => {
                let mut slot = ReplySlot::new(Arc::clone(&context.push), Arc::clone(&state) as _);
                let ends = ReplySlot::open(&mut slot);
                drop(slot);
                let (body, receiving) = match (purpose, receiving) {
                    (Purpose::Request, Some(receiving)) => {
                        (UploadBody::new(receiving, &head, Arc::clone(&state)), None)
                    }
                    (_, receiving) => (UploadBody::empty(), receiving),
                };
                let requests = RequestService { peer, https, ..self.requests.clone() };
                (requests.begin(head, body, ends), receiving)
            }
        };
        let stage = Stage::Handling(handling, false);
        tokio::spawn(Exchange { state, respond: Some(respond), method, receiving, entry, stage });
    }

    fn keep_deadlines(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Over> {
        let base = Arc::clone(&self.requests.context.base);
        let now = base.timers.now();
        let mut gave_up = false;
        loop {
            self.watch_pings(cx, now);
            self.idle_since = if self.h2.has_streams() { None } else { self.idle_since.or(Some(now)) };
            let unsent = self.wire.watch_unsent(now);
            let awaited = self.next_deadline(&base);
            let Some((_, waiting)) = awaited.filter(|(deadline, _)| *deadline <= now) else {
                let next = awaited.map(|(deadline, _)| deadline).into_iter().chain(unsent).min();
                if let Some(next) = next {
                    self.alarm.set(next, cx.waker());
                }
                return Ok(());
            };
            if std::mem::replace(&mut gave_up, true) {
                return Err(Over);
            }
            // After the whole process was stopped for a while, the reactor sees deadlines before it sees sockets.
            if waiting != Waiting::Drain && self.wire.is_about_to_move() {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            self.give_up(waiting, &base, cx, now)?;
        }
    }

    /// What the connection waits for, and until when.
    fn next_deadline(&self, base: &base::Context) -> Option<(Instant, Waiting)> {
        let limits: &Limits = &base.limits;
        let blocked = self.wire.blocked().map(|since| (since + limits.write_timeout, Waiting::Write));
        if self.ending {
            return blocked;
        }
        let headers = self.wire.header_block().map(|since| (since + limits.head_timeout, Waiting::Headers));
        let idle = self.idle_since.map(|since| {
            let end = since + limits.keep_alive_timeout;
            let drained = base.lifecycle.close_idle_at(since).filter(|_| self.draining);
            drained.map_or((end, Waiting::Stream), |drained| (end.min(drained), Waiting::Drain))
        });
        let ping = match (self.pinged_at, limits.ping_interval) {
            (Some(pinged), _) => Some((pinged + limits.pong_timeout, Waiting::Pong)),
            // A connection without streams is closed anyway.
            (None, Some(interval)) if idle.is_none() => Some((self.wire.last_read_at() + interval, Waiting::Input)),
            _ => None,
        };
        [blocked, headers, idle, ping].into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }

    fn give_up(
        &mut self,
        waiting: Waiting,
        base: &base::Context,
        cx: &mut TaskContext<'_>,
        now: Instant,
    ) -> Result<(), Over> {
        let peer = self.requests.peer;
        match waiting {
            Waiting::Input => {
                if let Some(pings) = &mut self.pings
                    && pings.send_ping(Ping::opaque()).is_ok()
                {
                    self.pinged_at = Some(now);
                }
                return self.work(cx);
            }
            Waiting::Write => base.stats.write_timeouts.add(),
            Waiting::Headers => base.stats.head_timeouts.add(),
            Waiting::Stream => base.stats.idle_timeouts.add(),
            Waiting::Pong => base.stats.pong_timeouts.add(),
            Waiting::Drain => {}
        }
        log::debug!("connection from {peer}: gave up waiting {waiting}");
        match waiting {
            Waiting::Write | Waiting::Pong => {
                if let Some(mut socket) = self.wire.take_socket() {
                    socket.reset();
                }
                Err(Over)
            }
            Waiting::Headers => self.end(Reason::ENHANCE_YOUR_CALM, cx),
            Waiting::Stream | Waiting::Drain | Waiting::Input => self.end(Reason::NO_ERROR, cx),
        }
    }

    /// Looks for the answer to a ping. Whatever comes in shows that the client is there.
    fn watch_pings(&mut self, cx: &mut TaskContext<'_>, now: Instant) {
        if let (Some(pings), Some(pinged)) = (&mut self.pings, self.pinged_at) {
            if pings.poll_pong(cx).is_ready() {
                self.pinged_at = None;
            } else if self.wire.last_read_at() > pinged {
                self.pinged_at = Some(now.min(self.wire.last_read_at()));
            }
        }
    }
}

/// What a connection waits for, with a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the socket to take more (write_timeout).
    Write,
    /// For the end of a header block (head_timeout).
    Headers,
    /// For a stream (keep_alive_timeout).
    Stream,
    /// For a stream, while the server drains.
    Drain,
    /// For anything from the client (ping_interval).
    Input,
    /// For the answer to a ping (pong_timeout).
    Pong,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiting::Write => "for the client to take something (write_timeout)",
            Waiting::Headers => "for the end of a header block (head_timeout)",
            Waiting::Stream => "for a stream (keep_alive_timeout)",
            Waiting::Drain => "for a stream, because the server stops",
            Waiting::Input => "for anything (ping_interval)",
            Waiting::Pong => "for the answer to a ping (pong_timeout)",
        })
    }
}
