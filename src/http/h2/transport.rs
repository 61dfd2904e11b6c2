//! The socket beneath h2. It collects what h2 writes in a turn, since h2 makes a call for each DATA frame, and counts what
//! comes in.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use rustix::event::PollFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame_scanner::{Breach, FrameScanner};
use crate::base;
use crate::base::lock::Lock;
use crate::net::Socket;
use crate::net::h2_received::Received;
use crate::net::h2_stream::{H2Connection, Unsent};

/// Bytes that are collected. With more, h2 must wait until the socket has taken them.
const COLLECTED: usize = 64 * 1024;

/// So many bytes in one call go to the socket without being copied, if nothing waits before them.
const LARGE: usize = 8 * 1024;

thread_local! {
    /// The buffer of the last connection of this thread that has sent all that it had collected. So idle connections hold
    /// none, and one that begins to write seldom allocates one.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The socket of a connection, for its task and for h2.
pub(super) struct Wire {
    base: Arc<base::Context>,
    received: Arc<Received>,
    state: Lock<State>,
    /// Streams that were sent to their end, and since when. A lock of its own: that of h2 is taken while that of `state` is
    /// held, and to drop a stream takes that of h2.
    unsent: Lock<Vec<(Unsent, Instant)>>,
}

struct State {
    /// `None` once the connection has ended.
    socket: Option<Socket>,
    /// What was read before HTTP/2 began.
    unread: Bytes,
    scanner: FrameScanner,
    /// What h2 has written and the socket has not taken, from `sent` on.
    collected: Vec<u8>,
    sent: usize,
    /// Bytes that the socket has taken since something came in.
    sent_since_input: u64,
    /// Since when the socket takes nothing, although something waits.
    blocked: Option<Instant>,
    /// The socket did not take what h2 has, and h2 still has it.
    refused: bool,
    /// When a write has failed: the client is gone. What it has sent before is still read, up to the end. Until then h2 must
    /// not notice, because it would read nothing more. What it writes is dropped.
    broken: Option<Instant>,
    last_read_at: Instant,
    ended: bool,
    /// All connections together have received too much.
    crowded: bool,
}

impl Wire {
    /// `unread` was read from the socket already.
    pub(super) fn new(socket: Socket, unread: Bytes, base: Arc<base::Context>, received: Arc<Received>) -> Arc<Self> {
        let now = base.timers.now();
        let state = State {
            socket: Some(socket),
            unread,
            scanner: FrameScanner::new(&base.limits, now),
            collected: Vec::new(),
            sent: 0,
            sent_since_input: 0,
            blocked: None,
            refused: false,
            broken: None,
            last_read_at: now,
            ended: false,
            crowded: false,
        };
        Arc::new(Wire { base, received, state: Lock::new(state), unsent: Lock::default() })
    }

    /// Sends what is collected.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.lock().poll_send(cx, &self.base)
    }

    /// Why the connection must be ended.
    pub(super) fn breach(&self) -> Option<Breach> {
        self.state.lock().scanner.breach()
    }

    /// Since when a header block has come that has not ended.
    pub(super) fn header_block(&self) -> Option<Instant> {
        self.state.lock().scanner.header_block()
    }

    /// Since when the socket takes nothing, although something waits.
    pub(super) fn blocked(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.blocked.or(state.broken)
    }

    /// When something came in.
    pub(super) fn last_read_at(&self) -> Instant {
        self.state.lock().last_read_at
    }

    /// The bare socket, for what follows HTTP/2. What is collected is dropped.
    pub(super) fn take_socket(&self) -> Option<Socket> {
        self.state.lock().socket.take()
    }

    /// Has the largest stream reset if all connections together have received too much. Not while h2 runs: it has locks.
    pub(super) fn relieve(&self) {
        if std::mem::take(&mut self.state.lock().crowded) && self.received.relieve() {
            self.base.stats.h2_crowded_out.add();
        }
    }

    /// Looks after the streams that were sent to their end. Those whose client gives them no window for `write_timeout` are
    /// reset. Returns when to look again. Not while h2 runs: it has locks.
    pub(super) fn watch_unsent(&self, now: Instant) -> Option<Instant> {
        let mut all = std::mem::take(&mut *self.unsent.lock());
        if all.is_empty() {
            return None;
        }
        // Most often all of them are done. They are dropped without the lock.
        all.retain(|(unsent, _)| !unsent.is_taken());
        let timeout = self.base.limits.write_timeout;
        // A connection that is blocked has a deadline of its own.
        let watched = !all.is_empty() && self.blocked().is_none();
        if watched {
            for (unsent, _) in all.extract_if(.., |(_, since)| *since + timeout <= now) {
                log::debug!("a stream is reset: its client takes nothing of the response (write_timeout)");
                self.base.stats.write_timeouts.add();
                unsent.reset();
            }
        }
        let next = all.iter().map(|(_, since)| *since + timeout).min().filter(|_| watched);
        let mut unsent = self.unsent.lock();
        all.append(&mut unsent);
        *unsent = all;
        next
    }

    /// The connection is over.
    pub(super) fn forget_unsent(&self) {
        let all = std::mem::take(&mut *self.unsent.lock());
        drop(all);
    }

    /// Whether the client has closed its side.
    pub(super) fn ended(&self) -> bool {
        self.state.lock().ended
    }
}

impl H2Connection for Wire {
    fn is_about_to_move(&self) -> bool {
        let state = self.state.lock();
        let interest = if state.blocked.is_some() { PollFlags::OUT } else { PollFlags::IN };
        state.socket.as_ref().is_some_and(|socket| socket.is_ready(interest))
    }

    fn unacknowledged(&self) -> Option<u64> {
        let state = self.state.lock();
        let waiting = (state.collected.len() - state.sent) as u64;
        state.socket.as_ref()?.unacknowledged().map(|bytes| bytes + waiting)
    }

    fn watch(&self, unsent: Unsent) {
        self.unsent.lock().push((unsent, self.base.timers.now()));
    }
}

impl State {
    fn socket(&mut self) -> io::Result<Pin<&mut Socket>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, base: &base::Context) -> Poll<io::Result<()>> {
        while self.sent < self.collected.len() {
            let State { socket, collected, sent, .. } = self;
            let Some(socket) = socket else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            let waiting = &collected[*sent..];
            let (length, result) = (waiting.len(), Pin::new(socket).poll_write(cx, waiting));
            self.sent += ready!(self.written(result, length, base));
        }
        self.sent = 0;
        self.collected.clear();
        if self.collected.capacity() > 0 {
            let buffer = std::mem::take(&mut self.collected);
            SPARE.with_borrow_mut(|spare| *spare = buffer);
        }
        if self.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        // TLS may hold back what it has taken.
        let flushed = self.socket()?.poll_flush(cx);
        self.note_blocked(flushed.is_pending() || self.refused, base);
        if let Poll::Ready(Err(_)) = flushed {
            self.broken.get_or_insert_with(|| base.timers.now());
            return Poll::Ready(Ok(()));
        }
        flushed
    }

    /// How many of `length` bytes the socket has taken, or nothing will take.
    fn written(&mut self, result: Poll<io::Result<usize>>, length: usize, base: &base::Context) -> Poll<usize> {
        self.note_blocked(result.is_pending(), base);
        match ready!(result) {
            Ok(bytes) if bytes > 0 => {
                base.stats.bytes_out.add_many(bytes as u64);
                self.sent_since_input += bytes as u64;
                Poll::Ready(bytes)
            }
            _ => {
                self.broken.get_or_insert_with(|| base.timers.now());
                Poll::Ready(length)
            }
        }
    }

    fn note_blocked(&mut self, blocked: bool, base: &base::Context) {
        if blocked != self.blocked.is_some() {
            self.blocked = blocked.then(|| base.timers.now());
        }
    }

    /// Collects these bytes, or as many of them as there is room for.
    fn collect(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if self.collected.capacity() == 0 {
            self.collected = SPARE.with_borrow_mut(std::mem::take);
        }
        let mut taken = 0;
        for slice in slices {
            let room = COLLECTED.saturating_sub(self.collected.len());
            let length = slice.len().min(room);
            self.collected.extend_from_slice(&slice[..length]);
            taken += length;
            if length < slice.len() {
                break;
            }
        }
        taken
    }
}

/// The socket as h2 sees it.
pub(super) struct Transport(pub(super) Arc<Wire>);

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let base = &self.0.base;
        let mut state = self.0.state.lock();
        let state = &mut *state;
        // The connection is about to be ended.
        if state.scanner.breach().is_some() {
            return Poll::Pending;
        }
        let start = buffer.filled().len();
        if state.unread.is_empty() {
            ready!(state.socket()?.poll_read(cx, buffer))?;
            base.stats.bytes_in.add_many((buffer.filled().len() - start) as u64);
        } else {
            let length = state.unread.len().min(buffer.remaining());
            buffer.put_slice(&state.unread[..length]);
            state.unread.advance(length);
        }
        let input = &buffer.filled()[start..];
        state.ended |= input.is_empty();
        state.last_read_at = base.timers.now();
        state.scanner.scan(input, std::mem::take(&mut state.sent_since_input), state.last_read_at);
        // Then the task of the connection ends it, with the right reason: h2 must not see the frame.
        if state.scanner.breach().is_some() {
            buffer.set_filled(start);
            return Poll::Pending;
        }
        let data = state.scanner.take_data();
        if data > 0 {
            state.crowded |= self.0.received.add(data);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let base = &self.0.base;
        let mut state = self.0.state.lock();
        if state.collected.len() >= COLLECTED {
            ready!(state.poll_send(cx, base))?;
        }
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if state.collected.is_empty() && length >= LARGE {
            let result = state.socket()?.poll_write_vectored(cx, slices);
            state.refused = result.is_pending();
            return state.written(result, length, base).map(Ok);
        }
        state.refused = false;
        Poll::Ready(Ok(state.collect(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sends nothing: h2 flushes after each DATA frame. The connection's task sends at the end of its turn.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        ready!(state.poll_send(cx, &self.0.base))?;
        if state.broken.is_some() { Poll::Ready(Ok(())) } else { state.socket()?.poll_shutdown(cx) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::base::limits::Limits;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

    #[tokio::test]
    async fn what_the_client_has_sent_is_read_after_a_write_has_failed() {
        for length in [1, LARGE, 3 * COLLECTED] {
            let base = Arc::new(base::Context::new(Limits::default()));
            let (ours, mut client) = UnixStream::pair().unwrap();
            let wire = Wire::new(Socket::Unix(ours), Bytes::new(), base, Received::new(usize::MAX));
            let mut transport = Transport(Arc::clone(&wire));
            client.write_all(PREFACE).await.unwrap();
            drop(client);
            transport.write_all(&vec![0; length]).await.unwrap();
            poll_fn(|cx| wire.poll_send(cx)).await.unwrap();
            assert!(wire.blocked().is_some());
            let mut read = Vec::new();
            let ended = transport.read_to_end(&mut read).await;
            assert_eq!(read, PREFACE, "{length}: {ended:?}");
            transport.shutdown().await.unwrap();
        }
    }
}
