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

use super::answer::Slot;
use super::entries::Entries;
use super::framing::{Place, Scanner};
use crate::access_log::Entry;
use crate::limits::Limits;
use crate::wakeups::Wakeups;

/// What a connection's parts (the socket, the service, the deadlines) know of each other. They
/// all run in one task, so the lock is never waited for.
#[derive(Debug)]
pub struct Watch {
    state: Mutex<State>,
    /// Where the answer to the request that is with the app is waited for.
    pub(super) slot: Slot,
}

#[derive(Debug)]
struct State {
    scanner: Scanner,
    /// For hyper, before anything else is read.
    ready: Bytes,
    /// Requests that hyper handed to the service.
    called: u64,
    /// Responses the service has made the head of.
    answered: u64,
    /// Responses whose body has ended too.
    ended: u64,
    /// The body being sent is still being made: it may last.
    streaming: bool,
    /// The peer has said all it will say, which hyper does not know yet.
    half_closed: bool,
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
    /// For the access log.
    entries: Entries,
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
                ended: 0,
                streaming: false,
                half_closed: false,
                since: Instant::now(),
                progress: 0,
                body_progress: limits.body_progress,
                reader: None,
                task: None,
                information: Bytes::new(),
                blocked: None,
                flushed: true,
                body_timed_out: false,
                entries: Entries::default(),
            }),
            slot: Slot::default(),
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

    /// The service has an ordinary response to the request it was called with last; `streaming`
    /// if its body is still being made. The response ends when what is returned is dropped.
    pub fn answered(self: &Arc<Self>, status: StatusCode, streaming: bool) -> ResponseInProgress {
        let mut state = self.lock();
        state.answered += 1;
        state.entries.answered(status);
        state.streaming = streaming;
        state.scanner.decline_upgrade();
        state.wake_reader();
        ResponseInProgress { watch: Arc::clone(self), taken: 0, whole: false }
    }

    /// The request handed over last is to be logged.
    pub(super) fn log(&self, entry: Entry) {
        self.lock().entries.begin(entry);
    }

    /// The log entry of the request by which the socket is taken over.
    pub(super) fn take_entry(&self) -> Option<Entry> {
        self.lock().entries.take()
    }

    /// Whether a request body was given up for want of progress.
    pub fn body_timed_out(&self) -> bool {
        self.lock().body_timed_out
    }

    /// Whether the socket can be taken over: nothing of an earlier response waits in hyper.
    pub fn flushed(&self) -> bool {
        let state = self.lock();
        state.flushed && state.information.is_empty()
    }

    /// What came in behind the request, for whoever takes the socket over: what hyper has read
    /// (`buffered`), what was ready for it, and what the scanner held back.
    pub fn take_unread(&self, buffered: &Bytes) -> Bytes {
        let mut state = self.lock();
        let ready = std::mem::take(&mut state.ready);
        let handed = if ready.is_empty() { buffered.clone() } else { [&buffered[..], &ready].concat().into() };
        let handed = state.scanner.without_stand_in(handed);
        let held = state.scanner.take_held();
        if handed.is_empty() { held } else { [&handed[..], &held].concat().into() }
    }

    /// Has `head` written at once, ahead of the response, or not at all.
    pub fn inform(&self, head: Bytes, wakeups: &Wakeups) {
        let mut state = self.lock();
        if state.flushed {
            state.information = [&state.information[..], &head].concat().into();
            let task = state.task.clone();
            drop(state);
            if let Some(task) = task {
                wakeups.add(task);
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
        let idle = state.called == state.ended;
        match state.scanner.place() {
            // Once there is an answer, nobody waits for the rest of a body any more.
            Place::Body if state.called > state.answered && !state.body_timed_out => Some((Waiting::Body, state.since)),
            Place::Body if idle => Some((Waiting::NextRequest, state.since)),
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

/// A response of which not all has been handed to hyper.
#[derive(Debug)]
pub struct ResponseInProgress {
    watch: Arc<Watch>,
    /// Bytes of the body that hyper has taken.
    taken: u64,
    /// It has all it wants.
    whole: bool,
}

impl ResponseInProgress {
    /// hyper has taken `bytes` of the body; `ended` if that was its end, and never more than `length`.
    pub(super) fn took(&mut self, bytes: u64, ended: bool, length: Option<u64>) {
        self.taken = (self.taken + bytes).min(length.unwrap_or(u64::MAX));
        self.whole |= ended || length.is_some_and(|length| self.taken >= length);
    }
}

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        state.entries.ended(self.taken, self.whole);
        state.ended += 1;
        state.streaming = false;
        state.since = Instant::now();
        state.wake_reader();
    }
}

/// Dropped when the connection has ended, after everything else of it: what was not sent by then
/// never will be.
pub(super) struct Ending(pub(super) Arc<Watch>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().entries.close();
    }
}

impl State {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Whether hyper may learn that the peer has closed its side. It would cut a response that is
    /// on its way; but who only listens may close its side early (RFC 9112 section 9.6). A body that
    /// is still being made may last for hours: there, the end of the peer is worth knowing.
    fn shows_half_close(&self) -> bool {
        let answered = self.called >= self.scanner.heads() && self.called == self.ended && self.flushed;
        answered || self.streaming || self.scanner.place() == Place::Body
    }

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

    /// Writes an informational response. It was taken when hyper had nothing to write, so it goes
    /// ahead of whatever hyper has now.
    fn poll_information(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.watch.lock();
        while !state.information.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &state.information))?;
            state.information.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut state = self.watch.lock();
        state.flushed = false;
        if let Poll::Ready(Ok(bytes)) = &result {
            state.entries.written(*bytes);
        }
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
                if state.half_closed {
                    if state.shows_half_close() {
                        return Poll::Ready(Ok(()));
                    }
                    state.reader = Some(cx.waker().clone());
                    return Poll::Pending;
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
            let mut state = this.watch.lock();
            if input.is_empty() {
                state.half_closed = true;
                continue;
            }
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
        ready!(self.poll_information(cx))?;
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_information(cx))?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this only once its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_information(cx))?;
        let mut state = this.watch.lock();
        state.flushed = true;
        state.entries.flushed();
        if state.half_closed {
            state.wake_reader();
        }
        drop(state);
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
