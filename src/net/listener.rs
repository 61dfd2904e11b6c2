//! Listening sockets.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::net::{TcpStream, UnixStream};

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
    Tcp(TcpListener),
    /// Of the Unix family.
    Unix(UnixListener),
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

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Listening::Tcp(listener) => listener.as_raw_fd(),
            Listening::Unix(listener) => listener.as_raw_fd(),
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
pub(super) struct Listener(AsyncFd<Listening>);

impl Listener {
    /// Gives the socket to the reactor. Inside the runtime.
    pub(super) fn register(listening: Listening) -> io::Result<Self> {
        // SAFETY: a listening socket has the same descriptor as long as it lives.
        Ok(Listener(unsafe { AsyncFd::register_with_interest(listening, Interest::READABLE) }?))
    }

    /// Takes the socket from the reactor.
    pub(super) fn deregister(self) -> Listening {
        self.0.into_inner()
    }

    /// Waits for a connection, and leaves it in the backlog. Another process may accept it.
    pub(super) async fn ready(&self) -> io::Result<Ready<'_>> {
        Ok(Ready(self.0.readable().await?))
    }
}

/// A listening socket that had a connection.
#[derive(Debug)]
pub(super) struct Ready<'a>(AsyncFdReadyGuard<'a, Listening>);

impl Ready<'_> {
    /// Accepts the connection. `None` if there is none any more.
    pub(super) fn accept(mut self) -> Option<io::Result<(Socket, Peer)>> {
        self.0.try_io(|listening| listening.get_ref().accept()).ok()
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
        let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(matches!(Listening::try_from(OwnedFd::from(unix)).unwrap(), Listening::Unix(_)));
        assert!(matches!(Listening::try_from(OwnedFd::from(tcp)).unwrap(), Listening::Tcp(_)));
    }

    #[test]
    fn what_cannot_be_accepted_from_is_refused() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(error_of(connected), ListenError::NotListening));
        let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(error_of(pair), ListenError::NotListening));
        assert!(matches!(error_of(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()), ListenError::NoStream));
        assert!(matches!(error_of(tempfile::tempfile().unwrap()), ListenError::System(_)));
    }
}
