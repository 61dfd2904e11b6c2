//! A stream of an HTTP/2 connection, as a socket: bytes in both directions, each with an end of its own. The heads of the
//! request and of the response are not its subject.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};

use atomic_waker::AtomicWaker;
use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::h2_received::Receiving;

/// Bytes that a stream may have in the send buffer of its connection. What else there is to send stays where it is, so that
/// it can be counted, and given up.
pub const SEND_BUFFER: usize = 16 * 1024;

/// Bytes for one DATA frame, in pieces that are shared with other streams.
#[derive(Debug, Default)]
pub struct FrameBatch {
    first: Bytes,
    more: VecDeque<Bytes>,
    /// How many bytes these are together.
    remaining: usize,
    /// Learns how many of them the connection has taken.
    below: Option<Arc<Below>>,
}

/// What is beneath a stream.
struct Below {
    /// How many bytes of the stream its connection has not taken from the send buffer.
    untaken: AtomicUsize,
    /// The stream's task, if it waits until there are none.
    task: AtomicWaker,
    connection: Arc<dyn H2Connection>,
}

impl Below {
    fn new(connection: Arc<dyn H2Connection>) -> Arc<Self> {
        Arc::new(Below { untaken: AtomicUsize::new(0), task: AtomicWaker::new(), connection })
    }

    fn took(&self, bytes: usize) {
        if bytes > 0 && self.untaken.fetch_sub(bytes, Ordering::AcqRel) == bytes {
            self.task.wake();
        }
    }

    fn has_all(&self) -> bool {
        self.untaken.load(Ordering::Acquire) == 0
    }
}

impl std::fmt::Debug for Below {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Below").field("untaken", &self.untaken).finish_non_exhaustive()
    }
}

impl FrameBatch {
    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: Bytes) {
        self.remaining += bytes.len();
        if self.first.is_empty() && self.more.is_empty() {
            self.first = bytes;
        } else {
            self.more.push_back(bytes);
        }
    }
}

impl From<Bytes> for FrameBatch {
    fn from(bytes: Bytes) -> Self {
        FrameBatch { remaining: bytes.len(), first: bytes, more: VecDeque::new(), below: None }
    }
}

impl Buf for FrameBatch {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = std::iter::once(&self.first).chain(&self.more).filter(|piece| !piece.is_empty());
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, bytes: usize) {
        let mut left = bytes.min(self.remaining);
        self.remaining -= left;
        if let Some(below) = &self.below {
            below.took(left);
        }
        loop {
            let taken = left.min(self.first.len());
            self.first.advance(taken);
            left -= taken;
            if !self.first.is_empty() {
                return;
            }
            match self.more.pop_front() {
                Some(next) => self.first = next,
                None => return,
            }
        }
    }
}

impl Drop for FrameBatch {
    fn drop(&mut self) {
        if let Some(below) = &self.below {
            below.took(self.remaining);
        }
    }
}

/// The connection beneath a stream. Any thread.
pub trait H2Connection: Send + Sync {
    /// Whether something came in, or can be sent again, that the reactor does not know yet.
    fn is_about_to_move(&self) -> bool;

    /// Bytes of all streams that were taken and the peer has not acknowledged. `None` if that is not known.
    fn unacknowledged(&self) -> Option<u64>;

    /// Watches over a stream for which no task waits any more.
    fn watch(&self, unsent: Unsent);
}

/// A stream that was sent to its end, as far as its task is concerned: its connection has not taken all of it. That is a
/// matter of a moment, unless the connection is blocked, or the client takes a window back (RFC 9113 section 6.9.2).
pub struct Unsent {
    send: SendStream<FrameBatch>,
    below: Arc<Below>,
}

impl Unsent {
    /// Whether the connection has taken all.
    pub fn is_taken(&self) -> bool {
        self.below.has_all()
    }

    /// Resets the stream: what was sent is not all.
    pub fn reset(mut self) {
        self.send.send_reset(Reason::INTERNAL_ERROR);
    }
}

/// What comes in.
struct Incoming {
    receiving: Receiving,
    /// What was received and not read.
    unread: Bytes,
}

/// The stream. If it is dropped before both directions have ended, the peer sees a reset.
pub struct H2Stream {
    send: SendStream<FrameBatch>,
    /// `None` if nothing more can come in. Boxed, because for most streams nothing can.
    receive: Option<Box<Incoming>>,
    below: Arc<Below>,
    /// The connection had another turn to take what was sent. A client that takes a window back may keep it from that for ever.
    had_turn: Cell<bool>,
    /// The sender waits until the connection has taken what was sent.
    flushing: bool,
    /// The end was sent, or the stream was reset.
    finished: bool,
}

impl H2Stream {
    /// `receive` is `None` if the peer has sent all of its part already.
    pub fn new(send: SendStream<FrameBatch>, receive: Option<Receiving>, connection: Arc<dyn H2Connection>) -> Self {
        H2Stream {
            send,
            receive: receive.map(|receiving| Box::new(Incoming { receiving, unread: Bytes::new() })),
            below: Below::new(connection),
            had_turn: Cell::default(),
            flushing: false,
            finished: false,
        }
    }

    /// The connection that the stream belongs to.
    pub fn connection(&self) -> &dyn H2Connection {
        &*self.below.connection
    }

    /// Whether the stream can go on sending, or something happens as soon as the connection has its turn.
    pub fn is_about_to_move(&self, sends: bool) -> bool {
        let can_send = sends
            && if self.below.has_all() {
                self.flushing || self.send.capacity() > 0
            } else {
                !self.had_turn.replace(true)
            };
        can_send || self.below.connection.is_about_to_move()
    }

    /// Reads as a socket does. If the peer has sent its part already, this only waits for a reset. What is read may be sent
    /// again by the peer: so a reader that reads nothing is sent no more than its window.
    #[inline(never)]
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(incoming) = &mut self.receive else {
            return self.send.poll_reset(cx).map(|_| Err(io::ErrorKind::ConnectionReset.into()));
        };
        let Incoming { receiving, unread } = &mut **incoming;
        while unread.is_empty() {
            match ready!(receiving.poll_data(cx)) {
                Some(data) => *unread = data.map_err(into_io)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = unread.len().min(buffer.remaining());
        buffer.put_slice(&unread[..length]);
        unread.advance(length);
        receiving.release(length);
        Poll::Ready(Ok(()))
    }

    /// How many of `wanted` bytes can be sent now: at least 1. Capacity is reserved for no more than these, because other
    /// streams of the connection have none of what is reserved.
    pub fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let wanted = wanted.min(SEND_BUFFER);
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.send.reserve_capacity(wanted);
        let capacity = match self.send.capacity() {
            0 => match ready!(self.send.poll_capacity(cx)) {
                Some(capacity) => capacity.map_err(into_io)?,
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            },
            capacity => capacity,
        };
        Poll::Ready(Ok(capacity.min(wanted)))
    }

    /// Gives bytes to the connection, no more than there is capacity for.
    pub fn send(&mut self, mut batch: FrameBatch) -> io::Result<()> {
        self.below.untaken.fetch_add(batch.remaining, Ordering::AcqRel);
        batch.below = Some(Arc::clone(&self.below));
        self.had_turn.set(false);
        self.send.send_data(batch, false).map_err(into_io)
    }

    /// Ready once the connection has taken all bytes.
    #[inline(never)]
    pub fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushing = !self.below.has_all();
        if self.flushing {
            self.below.task.register(cx.waker());
            self.flushing = !self.below.has_all();
        }
        if self.flushing { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// As [`H2Stream::send`], with the end behind the bytes.
    pub fn finish_with(&mut self, mut batch: FrameBatch) -> io::Result<()> {
        self.finished = true;
        self.below.untaken.fetch_add(batch.remaining, Ordering::AcqRel);
        batch.below = Some(Arc::clone(&self.below));
        self.send.send_data(batch, true).map_err(into_io)
    }

    /// Leaves a stream that was sent to its end to its connection, which sends the last bytes.
    pub fn leave(self) {
        let H2Stream { send, below, .. } = self;
        let connection = Arc::clone(&below.connection);
        connection.watch(Unsent { send, below });
    }

    /// Ready once the peer has reset the stream, or the connection has ended.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(drop)
    }

    /// Sends the end, behind what was sent.
    pub fn finish(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        self.send.send_data(FrameBatch::default(), true).map_err(into_io)
    }

    /// Whether the stream must be reset: see [`Receiving::is_crowded_out`]. `task` is woken when that happens.
    // Not inlined, as others here: the task of a stream with a socket of its own has the same code.
    #[inline(never)]
    pub fn is_crowded_out(&self, task: &Waker) -> bool {
        let Some(Incoming { receiving, .. }) = self.receive.as_deref() else { return false };
        receiving.wake_if_crowded_out(task);
        receiving.is_crowded_out()
    }

    /// Ends both directions at once. What the connection has not taken is dropped.
    pub fn reset(&mut self) {
        self.finished = true;
        self.send.send_reset(Reason::CANCEL);
    }

    /// The same, because what was sent is not all: the peer must not take it for complete (RFC 9113 section 8.1).
    pub fn reset_broken(&mut self) {
        self.finished = true;
        self.send.send_reset(Reason::INTERNAL_ERROR);
    }
}

fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    } else {
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_receive(cx, buffer)
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let length = ready!(self.poll_capacity(cx, bytes.len()))?;
        self.send(Bytes::copy_from_slice(&bytes[..length]).into())?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_taken(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

impl std::fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Stream").field("id", &self.send.stream_id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
