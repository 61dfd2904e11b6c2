//! What a stream sends through and reads from.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustix::event::PollFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
use super::tests::Buffering;
use crate::net::Socket;
use crate::net::h2_stream::{FrameBatch, H2Stream, SEND_BUFFER};
use crate::push::queue::Queue;

/// How many frames one call gives to the socket.
const SLICES: usize = 64;

/// What a stream sends through and reads from.
///
/// A pipe may hold back what was written. Only when `poll_flush` is ready, everything is with the kernel.
pub(super) enum Pipe {
    /// A connection of its own.
    Socket(Socket),
    /// A stream of an HTTP/2 connection.
    H2(H2Stream),
    /// A pipe that holds back what was written, as TLS does.
    #[cfg(test)]
    Buffering(Buffering),
}

impl Pipe {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Pipe::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
            Pipe::H2(stream) => stream.poll_receive(cx, buffer),
            #[cfg(test)]
            Pipe::Buffering(pipe) => Pin::new(&mut pipe.socket).poll_read(cx, buffer),
        }
    }

    /// Whether a read may give something, as far as the reactor knows.
    pub(super) fn may_read(&self) -> bool {
        self.socket().is_none_or(Socket::may_read)
    }

    /// Takes as much of the queue as it can in one call. The queue is not empty.
    #[inline]
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, queue: &Queue) -> Poll<io::Result<usize>> {
        match self {
            Pipe::Socket(socket) => write(socket, cx, queue),
            Pipe::H2(stream) => write_shared(stream, cx, queue),
            #[cfg(test)]
            Pipe::Buffering(pipe) => write(pipe, cx, queue),
        }
    }

    /// Sends on what it holds back.
    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Pipe::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Pipe::H2(stream) => stream.poll_taken(cx),
            #[cfg(test)]
            Pipe::Buffering(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    /// Tells the peer that nothing follows: it reads the end behind what was written. To be called again while it is
    /// pending, because the end may be something to send.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Pipe::Socket(socket) => Pin::new(socket).poll_shutdown(cx),
            Pipe::H2(stream) => Poll::Ready(stream.finish()),
            #[cfg(test)]
            Pipe::Buffering(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }

    /// See [`Socket::send_close_notify`].
    pub(super) fn send_close_notify(&mut self) {
        match self {
            Pipe::Socket(socket) => socket.send_close_notify(),
            // The connection goes on.
            Pipe::H2(_) => {}
            #[cfg(test)]
            Pipe::Buffering(_) => {}
        }
    }

    /// See [`Socket::reset`].
    pub(super) fn reset(&mut self) {
        match self {
            Pipe::Socket(socket) => socket.reset(),
            Pipe::H2(stream) => stream.reset(),
            #[cfg(test)]
            Pipe::Buffering(pipe) => pipe.socket.reset(),
        }
    }

    /// See [`Socket::unacknowledged`].
    pub(super) fn unacknowledged(&self) -> Option<u64> {
        match self {
            Pipe::H2(stream) => stream.connection().unacknowledged(),
            _ => self.socket()?.unacknowledged(),
        }
    }

    /// Whether the peer has sent something, or takes something again, even if the reactor does not know that yet.
    pub(super) fn is_ready(&self, interest: PollFlags) -> bool {
        match self {
            Pipe::H2(_) if interest.is_empty() => false,
            Pipe::H2(stream) => stream.is_about_to_move(interest.contains(PollFlags::OUT)),
            _ => self.socket().is_some_and(|socket| socket.is_ready(interest)),
        }
    }

    /// The descriptor of a socket that sends what it is given as it is.
    pub(super) fn plain_descriptor(&self) -> Option<RawFd> {
        match self {
            Pipe::Socket(socket) if !socket.is_encrypted() => Some(socket.as_fd().as_raw_fd()),
            _ => None,
        }
    }

    /// Whether the connection is shared with other streams, which counts the bytes.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Pipe::H2(_))
    }

    /// Whether the stream must be reset, because too much was received that was not read. `task` is woken when that happens.
    pub(super) fn is_crowded_out(&self, task: &Waker) -> bool {
        match self {
            Pipe::H2(stream) => stream.is_crowded_out(task),
            _ => false,
        }
    }

    /// `None` if there is no socket of its own.
    fn socket(&self) -> Option<&Socket> {
        match self {
            Pipe::Socket(socket) => Some(socket),
            Pipe::H2(_) => None,
            #[cfg(test)]
            Pipe::Buffering(pipe) => Some(&pipe.socket),
        }
    }
}

/// Gives as much of the queue to the stream as there is room for, without copying what many streams send.
#[inline(never)]
fn write_shared(stream: &mut H2Stream, cx: &mut Context<'_>, queue: &Queue) -> Poll<io::Result<usize>> {
    let room = ready!(stream.poll_capacity(cx, queue.bytes(SEND_BUFFER)))?;
    let mut batch = FrameBatch::default();
    queue.share(room, |bytes| batch.push(bytes));
    stream.send(batch)?;
    Poll::Ready(Ok(room))
}

fn write(socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>, queue: &Queue) -> Poll<io::Result<usize>> {
    let socket = Pin::new(socket);
    // One frame is by far the most frequent case, and write(2) is cheaper than writev(2).
    if let Some(only) = queue.only() {
        return socket.poll_write(cx, only);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = queue.gather(&mut slices);
    socket.poll_write_vectored(cx, &slices[..filled])
}
