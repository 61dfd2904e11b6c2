//! The socket of a connection.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The socket of a connection, of any family. It belongs to the reactor.
///
/// Only this file knows how the families differ. Others read, write, flush and shut down by [`AsyncRead`] and
/// [`AsyncWrite`].
#[derive(Debug)]
pub enum Socket {
    /// A socket of IPv4 or IPv6.
    Tcp(TcpStream),
    /// A stream socket of the Unix family.
    Unix(UnixStream),
}

impl Socket {
    /// Makes the connection end with a reset when the socket is dropped: the peer learns of it at once, and what the kernel
    /// still holds for the peer is dropped.
    ///
    /// Unix sockets have no such end. The peer reads what it was sent, and then the end.
    pub fn reset(&mut self) {
        match self {
            // Fails only if the connection is gone.
            Socket::Tcp(socket) => drop(socket.set_zero_linger()),
            Socket::Unix(_) => {}
        }
    }

    /// Whether a read may give something, as far as the reactor knows. For a task that waits for input already, this is
    /// much cheaper than another `poll_read`, which would register its waker again.
    pub fn may_read(&self) -> bool {
        match self {
            Socket::Tcp(socket) => socket.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Socket::Unix(socket) => socket.try_io(Interest::READABLE, || Ok(())).is_ok(),
        }
    }

    /// Whether one of these events has happened (poll(2)), even if the reactor does not know that yet.
    pub fn is_ready(&self, interest: PollFlags) -> bool {
        let mut asked = [PollFd::new(self, interest)];
        // A timeout of zero does not wait.
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
            && asked[0].revents().intersects(interest)
    }

    /// Bytes that the kernel holds and the peer has not acknowledged (tcp(7), SIOCOUTQ). `None` if that is not known.
    ///
    /// For a Unix socket, the kernel counts the memory that holds what the peer has not read. That is more than the bytes.
    pub fn unacknowledged(&self) -> Option<u64> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the request writes one int.
        let result = unsafe { libc::ioctl(self.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        (result == 0).then_some(bytes.max(0) as u64)
    }

    /// Takes the socket from the reactor. The descriptor is in non-blocking mode.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Socket::Tcp(socket) => socket.into_std().map(OwnedFd::from),
            Socket::Unix(socket) => socket.into_std().map(OwnedFd::from),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    /// Sends the FIN: the peer reads the end behind what it was sent.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
