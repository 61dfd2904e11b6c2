//! The socket as hyper sees it: through the [`Scanner`], and under watch.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::framing::{Place, Scanner};
use crate::limits::Limits;

/// What a connection's parts (the socket, the service, the deadlines) know of each other. They
/// all run in one task, so the lock is never waited for.
#[derive(Debug)]
pub struct Watch {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    scanner: Scanner,
    /// For hyper, before anything else is read.
    ready: Bytes,
    /// Requests that hyper handed to the service.
    called: u64,
    /// Responses the service has made.
    answered: u64,
    /// When the place in the framing changed, or enough of a body came.
    since: Instant,
    /// Bytes of a body since then.
    progress: usize,
    body_progress: usize,
    /// hyper, if it wanted to read while it was undecided whether it may.
    reader: Option<Waker>,
    /// The connection's task.
    task: Option<Waker>,
    /// An informational response that waits to be written.
    information: Bytes,
    /// The socket has taken nothing since.
    blocked: Option<Instant>,
    /// hyper holds no bytes for the socket.
    flushed: bool,
    body_timed_out: bool,
}

/// Which deadline applies to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For the first byte of a connection.
    FirstRequest,
    /// For the next request.
    NextRequest,
    /// For the rest of a head.
    Head,
    /// For more of a body.
    Body,
    /// For the socket to take something.
    Write,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Waiting::FirstRequest => "a first request (head_timeout)",
            Waiting::NextRequest => "another request (keep_alive_timeout)",
            Waiting::Head => "the rest of a head (head_timeout)",
            Waiting::Body => "the rest of a body (body_timeout, body_progress)",
            Waiting::Write => "its response to be taken (write_timeout)",
        })
    }
}

impl Watch {
    /// A watch over a new connection.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Watch {
            state: Mutex::new(State {
                scanner: Scanner::new(limits),
                ready: Bytes::new(),
                called: 0,
                answered: 0,
                since: Instant::now(),
                progress: 0,
                body_progress: limits.body_progress,
                reader: None,
                task: None,
                information: Bytes::new(),
                blocked: None,
                flushed: true,
                body_timed_out: false,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// hyper hands a request to the service; returns the refusal if it is the stand-in for one.
    pub fn called(&self) -> Option<StatusCode> {
        let mut state = self.lock();
        let index = state.called;
        state.called += 1;
        state.scanner.refusal_of(index)
    }

    /// The service has an ordinary response to the request it was called with last.
    pub fn answered(&self) {
        let mut state = self.lock();
        state.answered += 1;
        state.since = Instant::now();
        state.scanner.decline_upgrade();
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Whether a request body was given up for want of progress.
    pub fn body_timed_out(&self) -> bool {
        self.lock().body_timed_out
    }

    /// Whether the socket can be taken over: nothing of an earlier response waits in hyper.
    pub fn flushed(&self) -> bool {
        self.lock().flushed
    }

    /// What came in behind the request, for whoever takes the socket over: what hyper has read
    /// (`buffered`), what was ready for it, and what the scanner held back.
    pub fn take_unread(&self, buffered: &Bytes) -> Bytes {
        let mut state = self.lock();
        let ready = std::mem::take(&mut state.ready);
        let held = state.scanner.take_held();
        if buffered.is_empty() && ready.is_empty() {
            return held;
        }
        [&buffered[..], &ready, &held].concat().into()
    }

    /// Has `head` written at once, ahead of the response, or not at all.
    pub fn inform(&self, head: Bytes) {
        let mut state = self.lock();
        if state.flushed {
            state.information = head;
            if let Some(task) = &state.task {
                task.wake_by_ref();
            }
        }
    }

    /// The connection's task, to be woken by [`Watch::inform`].
    pub fn register(&self, waker: &Waker) {
        let mut state = self.lock();
        if !state.task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            state.task = Some(waker.clone());
        }
    }

    /// What the connection waits for, and since when; `None` while the app is at work.
    pub fn waiting(&self) -> Option<(Waiting, Instant)> {
        let state = self.lock();
        if let Some(blocked) = state.blocked {
            return Some((Waiting::Write, blocked));
        }
        let idle = state.called == state.answered;
        match state.scanner.place() {
            Place::Body => Some((Waiting::Body, state.since)),
            Place::Head if idle => Some((Waiting::Head, state.since)),
            Place::Between if idle && state.scanner.heads() == 0 => Some((Waiting::FirstRequest, state.since)),
            Place::Between if idle => Some((Waiting::NextRequest, state.since)),
            _ => None,
        }
    }

    /// The rest of a head did not come: it is answered with 408.
    pub fn time_out_head(&self) {
        let mut state = self.lock();
        state.ready = state.scanner.refuse(StatusCode::REQUEST_TIMEOUT);
    }

    /// The rest of a body did not come.
    pub fn time_out_body(&self) {
        self.lock().body_timed_out = true;
    }
}

impl State {
    /// Looks at bytes from the socket; returns what hyper gets in their place, if not the same.
    fn scan(&mut self, input: &[u8]) -> io::Result<Option<Bytes>> {
        let before = (self.scanner.place(), self.scanner.heads());
        let output = self.scanner.scan(input).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let place = self.scanner.place();
        self.progress += input.len();
        let enough = place == Place::Body && self.progress >= self.body_progress;
        if before != (place, self.scanner.heads()) || enough {
            self.since = Instant::now();
            self.progress = 0;
        }
        Ok(output)
    }
}

/// A connection's socket, while hyper speaks HTTP on it.
pub struct Socket {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl Socket {
    /// Puts `stream` under `watch`.
    pub fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        Socket { stream, watch }
    }

    /// The bare socket.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut state = self.watch.lock();
        state.flushed = false;
        match &result {
            Poll::Pending => {
                state.blocked.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => state.blocked = None,
        }
        result
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            {
                let mut state = this.watch.lock();
                if state.body_timed_out {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                if state.scanner.has_backlog()
                    && let Some(output) = state.scan(&[])?
                {
                    state.ready = output;
                }
                if !state.ready.is_empty() {
                    let length = state.ready.len().min(buffer.remaining());
                    buffer.put_slice(&state.ready[..length]);
                    state.ready.advance(length);
                    return Poll::Ready(Ok(()));
                }
                match state.scanner.place() {
                    // What follows may not be for hyper: `answered` wakes it if it is.
                    Place::Undecided => {
                        state.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    // The refusal is on its way, and closes the connection.
                    Place::Refused => return Poll::Pending,
                    Place::Between | Place::Head | Place::Body => {}
                }
            }
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let input = &buffer.filled()[start..];
            if input.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut state = this.watch.lock();
            match state.scan(input)? {
                None => return Poll::Ready(Ok(())),
                Some(output) => {
                    state.ready = output;
                    drop(state);
                    buffer.set_filled(start);
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this only once its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.watch.lock();
        state.flushed = true;
        while !state.information.is_empty() {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &state.information))?;
            state.information.advance(written);
        }
        drop(state);
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
