//! The socket of a connection.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::{ClientCertificate, TlsSocket};

/// The socket of a connection, of any family. It belongs to the reactor.
///
/// Only this file knows how the families differ. Others read, write, flush and shut down by [`AsyncRead`] and
/// [`AsyncWrite`]. A socket may hold back what was written: it is sent when `poll_flush` is ready.
#[derive(Debug)]
pub enum Socket {
    /// A socket of IPv4 or IPv6.
    Tcp(TcpStream),
    /// A stream socket of the Unix family.
    Unix(UnixStream),
    /// An encrypted connection over one of these.
    Tls(Box<TlsSocket>),
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
            Socket::Tls(socket) => socket.reset(),
        }
    }

    /// Sends close_notify (RFC 8446 section 6.1) if the connection is encrypted, as far as the socket takes it at once: nothing is
    /// missing of what was sent. To be called before the socket is closed without `poll_shutdown`.
    pub fn send_close_notify(&mut self) {
        if let Socket::Tls(socket) = self {
            socket.send_close_notify();
        }
    }

    /// The protocol that the peer has chosen with TLS (RFC 7301). `None`: it has not chosen.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        match self {
            Socket::Tls(socket) => socket.alpn_protocol(),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// Whether the peer has resumed a TLS session.
    pub fn is_resumed(&self) -> bool {
        matches!(self, Socket::Tls(socket) if socket.resumed())
    }

    /// Whether what goes over the wire is not what is read and written here. Then the descriptor is of no use to others.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// The certificate that the peer has shown.
    pub fn client_certificate(&self) -> Option<Arc<ClientCertificate>> {
        match self {
            Socket::Tls(socket) => socket.client_certificate().cloned(),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    /// Waits for the first byte that the peer sends, and leaves it there. `None`: the peer has ended the stream.
    pub(super) async fn peek(&self) -> io::Result<Option<u8>> {
        loop {
            let mut first = [0];
            let mut look = || Ok(recv(self, &mut first, RecvFlags::PEEK)?.0);
            let read = match self {
                Socket::Tcp(socket) => {
                    socket.readable().await?;
                    socket.try_io(Interest::READABLE, look)
                }
                Socket::Unix(socket) => {
                    socket.readable().await?;
                    socket.try_io(Interest::READABLE, look)
                }
                Socket::Tls(_) => look(),
            };
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(first[0])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a read may give something, as far as the reactor knows. For a task that waits for input already, this is
    /// much cheaper than another `poll_read`, which would register its waker again.
    pub fn may_read(&self) -> bool {
        match self {
            Socket::Tcp(socket) => socket.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Socket::Unix(socket) => socket.try_io(Interest::READABLE, || Ok(())).is_ok(),
            // Once a read was pending, nothing that was read is left.
            Socket::Tls(socket) => socket.socket().may_read(),
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

    /// Takes the socket from the reactor. The descriptor is in non-blocking mode. An encrypted connection has none that could be
    /// used.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Socket::Tcp(socket) => socket.into_std().map(OwnedFd::from),
            Socket::Unix(socket) => socket.into_std().map(OwnedFd::from),
            Socket::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tls(socket) => socket.socket().as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Tls(socket) => Pin::new(&mut **socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Tls(socket) => Pin::new(&mut **socket).poll_write(cx, bytes),
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
            Socket::Tls(socket) => Pin::new(&mut **socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(socket) => Pin::new(&mut **socket).poll_flush(cx),
        }
    }

    /// Sends the FIN, and close_notify before it: the peer reads the end behind what it was sent.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(socket) => Pin::new(&mut **socket).poll_shutdown(cx),
        }
    }
}
