//! One connection: hyper, until an upgrade takes the socket over.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use super::Context;
use super::hijack;
use super::request::Takeover;
use super::service::Service;
use super::socket::ScannedSocket;
use super::watch::{Ending, Look, Waiting, Watch};
use crate::access_log;
use crate::base::lifecycle::{Phase, PhaseReceiver};
use crate::base::limits::Limits;
use crate::base::stats::Stats;
use crate::net::{Accepted, Socket};
use crate::push::stream::Stream;

/// That of hyper, too. Told a number, it fills a table of as many places for each request, with any number: told
/// none, it leaves them as they are.
const DEFAULT_MAX_HEADERS: usize = 100;

/// How long a client may go on sending behind an answer that closes the connection.
const LINGER: Duration = Duration::from_secs(2);

/// How hyper's part of a connection ended.
enum Outcome {
    Closed(hyper::Result<()>),
    /// Idle for too long: nothing is owed to anybody.
    Idle,
    /// The peer takes nothing of its response.
    Stalled,
    TakenOver(Takeover),
}

/// Serves one connection. Its guard lives as long as its socket, which may go to another task.
pub async fn serve(accepted: Accepted, context: Arc<Context>, mut signal: PhaseReceiver) {
    let Accepted { socket, peer, listener, guard } = accepted;
    let limits = &context.base.limits;
    let watch = Watch::new(Arc::clone(&context));
    let _ending = Ending(Arc::clone(&watch));
    let socket = ScannedSocket::new(socket, Arc::clone(&watch));
    let service = Service { context: Arc::clone(&context), peer, listener, watch: Arc::clone(&watch) };
    let mut builder = http1::Builder::new();
    if limits.max_headers != DEFAULT_MAX_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    let mut connection = builder
        // The watch decides what hyper learns of a half-closed peer.
        .half_close(false)
        // Deadlines are the watch's: no timer per connection.
        .header_read_timeout(None)
        .max_header_size(limits.max_head_size)
        .max_buf_size(limits.max_head_size.max(64 * 1024))
        .serve_connection(TokioIo::new(socket), service);

    let outcome = {
        let mut alarm = context.base.timers.alarm();
        let mut draining = pin!(signal.reached(Phase::Draining));
        let (mut begun, mut told) = (false, false);
        poll_fn(|cx| {
            // A task's waker is always the same: what was told of it once need not be told again.
            let first = !std::mem::replace(&mut begun, true);
            if first {
                watch.register(cx.waker());
            }
            if !told && (first || !context.base.lifecycle.serving()) && draining.as_mut().poll(cx).is_ready() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let mut gave_up = false;
            loop {
                if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                    return Poll::Ready(Outcome::Closed(result));
                }
                let (waiting, since) = match watch.look() {
                    Look::TakeOver(takeover) => return Poll::Ready(Outcome::TakenOver(takeover)),
                    Look::Waiting(waiting, since) => (waiting, since),
                    Look::Busy => return Poll::Pending,
                };
                let deadline = since + patience(waiting, limits);
                if context.base.timers.now() < deadline {
                    alarm.set(deadline, cx.waker());
                    return Poll::Pending;
                }
                // What was done about a passed deadline must have moved something: a poll that
                // never returns would stop everybody.
                if std::mem::replace(&mut gave_up, true) {
                    return Poll::Ready(Outcome::Stalled);
                }
                count(waiting, &context.base.stats);
                log::debug!("connection from {peer}: gave up waiting for {waiting}");
                match waiting {
                    Waiting::FirstRequest | Waiting::NextRequest => return Poll::Ready(Outcome::Idle),
                    Waiting::Write => return Poll::Ready(Outcome::Stalled),
                    Waiting::Head => watch.time_out_head(),
                    Waiting::Body => watch.time_out_body(),
                }
            }
        })
        .await
    };

    match outcome {
        Outcome::Idle => {}
        Outcome::Closed(Ok(())) => {
            if watch.expects_more() {
                tokio::spawn(linger(connection.into_parts().io.into_inner().into_socket(), guard));
            }
        }
        Outcome::Closed(Err(error)) => {
            log::debug!("connection from {peer}: {error}");
            if error.is_parse_too_large() {
                context.base.stats.head_too_large.add();
                log::debug!("431 to {peer}: too many headers (max_headers), or too large (max_head_size)");
            }
            if let Some(log) = &context.access_log
                && let Some(status) = answered_by_hyper(&error)
            {
                let outcome = access_log::Outcome { status: Some(status), ..access_log::Outcome::default() };
                log.begin(peer, None).log(&outcome);
            }
            if error.is_parse() {
                tokio::spawn(linger(connection.into_parts().io.into_inner().into_socket(), guard));
            }
        }
        Outcome::Stalled => {
            connection.into_parts().io.into_inner().into_socket().reset();
        }
        Outcome::TakenOver(takeover) => {
            let parts = connection.into_parts();
            let unread = watch.take_unread(&parts.read_buf);
            let socket = parts.io.into_inner().into_socket();
            // Tasks of their own: this one's memory holds hyper's connection.
            match takeover {
                Takeover::Stream(upgrade) => {
                    if let Some((client, head)) = upgrade.arrive() {
                        let entry = watch.take_entry();
                        tokio::spawn(Stream::new(client, socket, head, unread, entry, guard));
                    }
                }
                Takeover::Hijack(hijack) => {
                    if let Some(mut entry) = watch.take_entry() {
                        let (status, upgrade) = (hijack.status, Some("hijack"));
                        entry.log(&access_log::Outcome { status, upgrade, ..access_log::Outcome::default() });
                    }
                    tokio::spawn(hijack::hand_over(socket, unread, hijack, guard));
                }
            }
        }
    }
}

/// Reads on for a while, and drops what comes: a socket that is closed with bytes unread is reset, which may take the
/// answer away from the client before it has read it (RFC 9112 section 9.6). hyper has sent the FIN.
async fn linger(mut socket: Socket, guard: Box<dyn Send + Sync>) {
    let rest = async {
        let mut dropped = vec![0; 16 * 1024];
        while matches!(socket.read(&mut dropped).await, Ok(1..)) {}
    };
    // The client has ended by then, or is cut.
    let _ = tokio::time::timeout(LINGER, rest).await;
    drop(guard);
}

/// What hyper says by itself to a head that it cannot parse.
fn answered_by_hyper(error: &hyper::Error) -> Option<StatusCode> {
    match error.is_parse() {
        true if error.is_parse_too_large() => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        true => Some(StatusCode::BAD_REQUEST),
        false => None,
    }
}

fn patience(waiting: Waiting, limits: &Limits) -> Duration {
    match waiting {
        Waiting::FirstRequest | Waiting::Head => limits.head_timeout,
        Waiting::NextRequest => limits.keep_alive_timeout,
        Waiting::Body => limits.body_timeout,
        Waiting::Write => limits.write_timeout,
    }
}

fn count(waiting: Waiting, stats: &Stats) {
    match waiting {
        Waiting::FirstRequest | Waiting::Head => stats.head_timeouts.add(),
        Waiting::NextRequest => stats.idle_timeouts.add(),
        Waiting::Body => stats.body_timeouts.add(),
        Waiting::Write => stats.write_timeouts.add(),
    }
}
