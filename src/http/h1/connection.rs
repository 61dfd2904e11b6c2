//! The task of one connection, as long as it speaks HTTP/1.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use thiserror::Error;
use tokio::io::AsyncWriteExt;

use super::adapter::{HyperConnection, HyperError};
use super::deadline::Waiting;
use super::detached::Detached;
use super::direct::{Direct, DirectError, Next};
use super::head_writer::write_head;
use super::requests::Requests;
use super::socket::ScannedSocket;
use super::state::{ConnectionState, EndOfConnection, NextStep};
use crate::access_log::{LogEntry, RequestOutcome};
use crate::base::lifecycle::{LINGER_IDLE, Phase, PhaseReceiver};
use crate::base::timers::Timers;
use crate::http::context::Context;
use crate::http::exchange::Takeover;
use crate::http::linger::{LINGER, linger};
use crate::http::service::RequestService;
use crate::http::{h2, hijack, refusal};
use crate::net::{Accepted, Peer, Socket};
use crate::push::stream::Stream;

/// How HTTP on a connection ended.
enum Outcome {
    Closed(Result<(), ConnectionError>),
    /// It was idle for too long. No response is due.
    Idle,
    /// It was idle when the server drained.
    Drained,
    /// The client takes nothing of the response.
    Stalled,
    Detached(Detached),
}

/// Why a connection has broken.
#[derive(Debug, Error)]
enum ConnectionError {
    #[error("{0}")]
    Hyper(HyperError),
    #[error(transparent)]
    Direct(#[from] DirectError),
}

/// What serves a connection's requests now.
// Nearly always directly: a box would be one more allocation for each connection.
#[allow(clippy::large_enum_variant)]
enum Way {
    Direct(Direct),
    Hyper(Box<HyperConnection>),
    /// Only while one takes the place of the other, and when the socket was taken.
    Neither,
}

impl Way {
    /// Reads, serves and writes as much as possible. Ready when HTTP has ended.
    fn poll(&mut self, state: &ConnectionState, cx: &mut TaskContext<'_>) -> Poll<Result<(), ConnectionError>> {
        loop {
            match self {
                Way::Direct(direct) => match ready!(direct.poll(cx))? {
                    Next::Closed => return Poll::Ready(Ok(())),
                    Next::Hyper => {
                        if let Some((socket, _, requests)) = self.take() {
                            *self = Way::Hyper(Box::new(HyperConnection::new(socket, requests)));
                        }
                    }
                },
                Way::Hyper(hyper) => {
                    if let Poll::Ready(result) = hyper.poll(cx) {
                        return Poll::Ready(result.map_err(ConnectionError::Hyper));
                    }
                    if !state.is_hyper_at_rest() {
                        return Poll::Pending;
                    }
                    // hyper at rest has used up all that it has read.
                    if let Some((socket, _, requests)) = self.take() {
                        *self = Way::Direct(Direct::new(socket, requests));
                    }
                }
                Way::Neither => return Poll::Pending,
            }
        }
    }

    /// The socket, the bytes that hyper has read from it but not used, and what has served the requests. `None` if they were
    /// taken before.
    fn take(&mut self) -> Option<(ScannedSocket, Bytes, Requests)> {
        match std::mem::replace(self, Way::Neither) {
            Way::Direct(direct) => {
                let (socket, requests) = direct.into_parts();
                Some((socket, Bytes::new(), requests))
            }
            Way::Hyper(hyper) => Some(hyper.into_parts()),
            Way::Neither => None,
        }
    }
}

/// A connection. Its parts are dropped in this order.
struct Served {
    way: Way,
    _end: EndOfConnection,
    guard: Box<dyn Send + Sync>,
}

/// Starts to serve one connection. Inside the runtime.
pub(in crate::http) fn begin(accepted: Accepted, context: Arc<Context>, signal: PhaseReceiver) {
    tokio::spawn(serve(accepted, context, signal));
}

/// Serves one connection. The connection's guard lives as long as its socket, which may move to another task. An idle
/// connection costs what this future needs, so nothing is kept here that can be elsewhere, or that only its beginning needs.
fn serve(accepted: Accepted, context: Arc<Context>, mut signal: PhaseReceiver) -> impl Future<Output = ()> {
    let Accepted { socket, peer, listener, guard, .. } = accepted;
    let state = ConnectionState::new(Arc::clone(&context));
    let requests = RequestService::new(Arc::clone(&context), &socket, peer, listener);
    let requests = Requests::new(requests, Arc::clone(&state));
    let socket = ScannedSocket::new(socket, Arc::clone(&state));
    let way = Way::Direct(Direct::new(socket, requests));
    let mut served = Served { way, _end: EndOfConnection(Arc::clone(&state)), guard };
    async move {
        // All of it belongs to the task.
        let _ = &served;
        let outcome = {
            let base = &context.base;
            let mut alarm = base.timers.alarm();
            let mut draining = pin!(signal.reached(Phase::Draining));
            let (mut begun, mut drains) = (false, false);
            poll_fn(|cx| {
                // A task's waker is always the same, so it is registered only once.
                let first = !std::mem::replace(&mut begun, true);
                if first {
                    state.register(cx.waker());
                }
                let mut gave_up = false;
                loop {
                    if !state.begin_turn() {
                        return Poll::Ready(Outcome::Detached(Detached::Hijacked));
                    }
                    if !drains && (first || !base.lifecycle.serving()) {
                        drains = draining.as_mut().poll(cx).is_ready();
                    }
                    if let Poll::Ready(result) = served.way.poll(&state, cx) {
                        return Poll::Ready(Outcome::Closed(result));
                    }
                    let (waiting, since) = match state.end_turn() {
                        NextStep::Detach(detached) => return Poll::Ready(Outcome::Detached(detached)),
                        NextStep::Wait(waiting, since) => (waiting, since),
                        NextStep::Busy => return Poll::Pending,
                    };
                    let deadline = since + waiting.timeout(&base.limits);
                    if drains
                        && waiting.is_idle()
                        && let Some(end) = base.lifecycle.close_idle_at(since)
                        && end < deadline
                    {
                        if base.timers.now() >= end && !state.has_input() {
                            return Poll::Ready(Outcome::Drained);
                        }
                        alarm.set(end, cx.waker());
                        return Poll::Pending;
                    }
                    if base.timers.now() < deadline {
                        alarm.set(deadline, cx.waker());
                        return Poll::Pending;
                    }
                    // A second passed deadline in one poll means that the first one has changed nothing. A loop that does
                    // not end would stop all connections.
                    if std::mem::replace(&mut gave_up, true) {
                        return Poll::Ready(Outcome::Stalled);
                    }
                    waiting.count(&base.stats);
                    log::debug!("connection from {peer}: gave up waiting for {waiting}");
                    match waiting {
                        Waiting::FirstRequest | Waiting::NextRequest => return Poll::Ready(Outcome::Idle),
                        Waiting::Write => return Poll::Ready(Outcome::Stalled),
                        Waiting::Head => state.time_out_head(),
                        Waiting::Body => state.time_out_body(),
                    }
                }
            })
            .await
        };

        let Some((socket, buffered, requests)) = served.way.take() else { return };
        // What goes on with the socket is a task of its own, because this task is larger.
        match outcome {
            Outcome::Idle => socket.into_socket().send_close_notify(),
            // A request that comes now gets no response. The client sees the end of the connection, not a reset, and can send the
            // request again elsewhere.
            Outcome::Drained => {
                let timers = Arc::clone(&context.base.timers);
                tokio::spawn(close(socket.into_socket(), timers, LINGER_IDLE, served.guard));
            }
            // hyper does not end the stream if one of the connection's requests has asked for an upgrade and not got it.
            Outcome::Closed(Ok(())) if state.expects_more() => {
                let timers = Arc::clone(&context.base.timers);
                tokio::spawn(close(socket.into_socket(), timers, LINGER, served.guard));
            }
            Outcome::Closed(Ok(())) => socket.into_socket().send_close_notify(),
            Outcome::Closed(Err(error)) => {
                log::debug!("connection from {peer}: {error}");
                if let ConnectionError::Hyper(error) = error
                    && let Some(status) = error.answered()
                {
                    record_refusal(&context, peer, status);
                    tokio::spawn(linger(socket.into_socket(), Arc::clone(&context.base.timers), LINGER, served.guard));
                }
            }
            Outcome::Stalled => socket.into_socket().reset(),
            Outcome::Detached(Detached::To(takeover)) => {
                let unread = state.take_unread(&buffered);
                take_over(takeover, socket.into_socket(), unread, state.take_entry(), context, served.guard);
            }
            Outcome::Detached(Detached::Http2) => {
                let unread = state.take_unread(&buffered);
                h2::connection::begin(socket.into_socket(), unread, requests.service, served.guard);
            }
            // The app's descriptor keeps the connection open when this task closes its own.
            Outcome::Detached(Detached::Hijacked) => log_hijack(state.take_entry(), None),
        }
    }
}

/// Gives the socket away.
fn take_over(
    takeover: Takeover,
    socket: Socket,
    unread: Bytes,
    entry: Option<LogEntry>,
    context: Arc<Context>,
    guard: Box<dyn Send + Sync>,
) {
    match takeover {
        Takeover::Stream(pending) => {
            if let Some(client) = pending.client.arrive() {
                let head = write_head(&pending.head);
                Stream::new(client, socket, head, unread, entry, guard).spawn();
            }
        }
        Takeover::Hijack(hijack) => {
            log_hijack(entry, hijack.head.as_ref().map(|head| head.status));
            let head = hijack.head.as_ref().map(write_head).unwrap_or_default();
            tokio::spawn(async move {
                hijack::hand_over(socket, head, unread, hijack.app, &context.base, guard).await;
            });
        }
    }
}

/// `status` is `None` if the app writes its own head.
fn log_hijack(entry: Option<LogEntry>, status: Option<StatusCode>) {
    if let Some(mut entry) = entry {
        entry.log(&RequestOutcome { status, upgrade: Some("hijack"), ..RequestOutcome::default() });
    }
}

/// Counts and logs that hyper has answered a head that it could not parse.
fn record_refusal(context: &Context, peer: Peer, status: StatusCode) {
    if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        refusal::record(status, peer, &context.base.stats);
    }
    if let Some(log) = &context.access_log {
        let outcome = RequestOutcome { status: Some(status), ..RequestOutcome::default() };
        log.begin(peer, None).log(&outcome);
    }
}

/// Ends the stream, and reads on for a while.
async fn close(mut socket: Socket, timers: Arc<Timers>, time: Duration, guard: Box<dyn Send + Sync>) {
    // Fails only if the client is gone.
    let _ = socket.shutdown().await;
    linger(socket, timers, time, guard).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::context;
    use crate::net::ListenerId;

    /// An idle connection takes this, and the state that its parts share. The bound is the size when it was last changed. If it
    /// grows, the memory of idle connections in docs/performance.md grows, too.
    #[tokio::test]
    async fn the_task_of_a_connection_does_not_grow() {
        let (socket, _client) = tokio::net::UnixStream::pair().unwrap();
        let (socket, peer, guard) = (Socket::Unix(socket), Peer::Unix, Box::new(()));
        let accepted = Accepted { socket, peer, listener: ListenerId(0), handshake: None, guard };
        let context = context();
        let signal = context.base.lifecycle.receiver();
        let size = size_of_val(&serve(accepted, context, signal));
        assert!(size <= 632, "{size} bytes");
    }
}
