//! Listening sockets.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::task::{Context, Poll, Waker};

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{Peer, Socket};

/// A listener of a server. Numbers count up from 0 and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u64);

/// A descriptor that a server cannot accept connections from.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The system refuses; the most frequent reason is a descriptor that is no socket.
    #[error("cannot listen: {0}")]
    System(#[from] io::Error),
    /// The address family is another than IPv4, IPv6 and Unix.
    #[error("cannot listen on a socket of address family {0}: only IPv4, IPv6 and Unix sockets work")]
    Family(u16),
    /// It is a datagram socket, for instance.
    #[error("cannot listen on a socket that is no stream socket")]
    NoStream,
    /// `listen` was not called on the socket.
    #[error("the socket does not listen")]
    NotListening,
    /// The server drains, or has stopped.
    #[error("the server accepts no connections any more")]
    Stopping,
}

/// A listening socket that does not belong to a reactor. It is in non-blocking mode.
#[derive(Debug)]
pub enum Listening {
    /// Of IPv4 or IPv6.
    Tcp(StdTcpListener),
    /// Of the Unix family.
    Unix(StdUnixListener),
}

impl TryFrom<OwnedFd> for Listening {
    type Error = ListenError;

    /// Checks what the descriptor is.
    fn try_from(socket: OwnedFd) -> Result<Self, ListenError> {
        let family = getsockname(&socket).map_err(io::Error::from)?.address_family();
        if sockopt::socket_type(&socket).map_err(io::Error::from)? != SocketType::STREAM {
            return Err(ListenError::NoStream);
        }
        if !sockopt::socket_acceptconn(&socket).map_err(io::Error::from)? {
            return Err(ListenError::NotListening);
        }
        rustix::io::ioctl_fionbio(&socket, true).map_err(io::Error::from)?;
        match family {
            AddressFamily::INET | AddressFamily::INET6 => Ok(Listening::Tcp(socket.into())),
            AddressFamily::UNIX => Ok(Listening::Unix(socket.into())),
            other => Err(ListenError::Family(other.as_raw())),
        }
    }
}

impl Listening {
    /// Accepts a connection from the backlog. Does not block. Inside the runtime.
    pub(super) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Listening::Tcp(listener) => {
                let (socket, address) = listener.accept()?;
                socket.set_nonblocking(true)?;
                Ok((tcp(TcpStream::from_std(socket)?), Peer::Inet(address)))
            }
            Listening::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                Ok((Socket::Unix(UnixStream::from_std(socket)?), Peer::Unix))
            }
        }
    }
}

/// A listening socket that belongs to the reactor.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Gives the socket to the reactor. Inside the runtime.
    pub(super) fn register(listening: Listening) -> io::Result<Self> {
        Ok(match listening {
            Listening::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Listening::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// Takes the socket from the reactor.
    pub(super) fn deregister(self) -> io::Result<Listening> {
        Ok(match self {
            Listener::Tcp(listener) => Listening::Tcp(listener.into_std()?),
            Listener::Unix(listener) => Listening::Unix(listener.into_std()?),
        })
    }

    /// Waits for a connection. No connection is lost if this is cancelled.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// A connection that is there already.
    pub(super) fn accept_now(&self) -> Option<io::Result<(Socket, Peer)>> {
        match self.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Peer)>> {
        match self {
            Listener::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(socket, address)| (tcp(socket), Peer::Inet(address)))
            }
            Listener::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(socket, _)| (Socket::Unix(socket), Peer::Unix))
            }
        }
    }
}

fn tcp(socket: TcpStream) -> Socket {
    // Events are small, and each is to be sent at once. Fails only if the peer is gone.
    let _ = socket.set_nodelay(true);
    Socket::Tcp(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    fn error_of(socket: impl Into<OwnedFd>) -> ListenError {
        Listening::try_from(socket.into()).unwrap_err()
    }

    #[test]
    fn the_address_family_says_what_a_descriptor_is() {
        let folder = tempfile::tempdir().unwrap();
        let unix = StdUnixListener::bind(folder.path().join("socket")).unwrap();
        let tcp = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(matches!(Listening::try_from(OwnedFd::from(unix)).unwrap(), Listening::Unix(_)));
        assert!(matches!(Listening::try_from(OwnedFd::from(tcp)).unwrap(), Listening::Tcp(_)));
    }

    #[test]
    fn what_cannot_be_accepted_from_is_refused() {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(error_of(connected), ListenError::NotListening));
        let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(error_of(pair), ListenError::NotListening));
        assert!(matches!(error_of(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()), ListenError::NoStream));
        assert!(matches!(error_of(tempfile::tempfile().unwrap()), ListenError::System(_)));
    }
}
