//! One connection: hyper, until an upgrade takes the socket over.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Context;
use super::service::{Service, Takeover};
use crate::push::stream::Stream;
use crate::shutdown::{Phase, Signal};

/// The socket, and whether hyper still holds bytes for it.
///
/// An upgrade takes the socket away from hyper, which must not happen while the end of an earlier
/// pipelined response waits in hyper's buffer. hyper calls `poll_flush` only once that is empty.
struct Socket {
    stream: TcpStream,
    flushed: Arc<AtomicBool>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.flushed.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flushed.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.flushed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How hyper's part of a connection ended.
enum Outcome {
    Closed(hyper::Result<()>),
    Upgraded(super::request::Upgrade),
}

/// Serves one connection; `guard` lives until its socket is closed, by whoever holds it then.
pub async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    listener: usize,
    context: Arc<Context>,
    mut signal: Signal,
    guard: Box<dyn Send + Sync>,
) {
    let limits = &context.push.limits;
    let takeover: Takeover = Arc::new(Mutex::new(None));
    let flushed = Arc::new(AtomicBool::new(true));
    let socket = Socket { stream, flushed: Arc::clone(&flushed) };
    let service = Service { context: Arc::clone(&context), remote, listener, takeover: Arc::clone(&takeover) };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_head_size)
        .max_buf_size(limits.max_head_size.max(64 * 1024))
        .serve_connection(TokioIo::new(socket), service);

    let outcome = {
        let mut draining = pin!(signal.reached(Phase::Draining));
        let mut told = false;
        poll_fn(|cx| {
            if !told && draining.as_mut().poll(cx).is_ready() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Outcome::Closed(result));
            }
            if flushed.load(Ordering::Relaxed)
                && let Some(upgrade) = takeover.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                return Poll::Ready(Outcome::Upgraded(upgrade));
            }
            Poll::Pending
        })
        .await
    };

    match outcome {
        Outcome::Closed(Ok(())) => {}
        Outcome::Closed(Err(error)) => {
            log::debug!("connection from {remote}: {error}");
            // Accepted by the app, but the peer went while the response before it was sent.
            if let Some(upgrade) = takeover.lock().unwrap_or_else(PoisonError::into_inner).take() {
                upgrade.client.abandon();
            }
        }
        Outcome::Upgraded(upgrade) => {
            let parts = connection.into_parts();
            let socket = parts.io.into_inner().stream;
            // A task of its own: this one's memory holds hyper's connection.
            tokio::spawn(Stream::new(upgrade.client, socket, upgrade.head, parts.read_buf, guard));
        }
    }
}
