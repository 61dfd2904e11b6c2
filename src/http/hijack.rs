//! Handing a connection's socket to the app, for `rack.hijack`.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use crossbeam_channel::Sender;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;

use super::head::ResponseHead;
use crate::net::Socket;

/// A socket for the app. It is in non-blocking mode, as Ruby's sockets are.
#[derive(Debug)]
pub enum Hijacked {
    /// The connection itself, which came by TCP.
    Tcp(OwnedFd),
    /// The connection itself, which came by a Unix socket. Or one end of a pair of Unix sockets, whose other end is
    /// pumped into the connection: bytes had been read from the connection already, and must be read first.
    Unix(OwnedFd),
}

impl Hijacked {
    /// What makes a descriptor of `socket` into what the app gets.
    pub(super) fn wrapper(socket: &Socket) -> fn(OwnedFd) -> Hijacked {
        match socket {
            Socket::Tcp(_) => Hijacked::Tcp,
            Socket::Unix(_) => Hijacked::Unix,
        }
    }
}

/// A request of the app for its socket.
#[derive(Debug)]
pub(super) struct Hijack {
    /// To be sent before the app gets the socket; `None` if the app writes its own.
    pub(super) head: Option<ResponseHead>,
    /// Dropped if the connection breaks first.
    pub(super) receiver: Sender<Hijacked>,
}

/// Writes `head` to `socket`, and gives the socket to the app by `receiver`. `unread` was read from it already. `guard`
/// lives as long as the socket is ours.
pub(super) async fn hand_over(
    socket: Socket,
    head: Bytes,
    unread: Bytes,
    receiver: Sender<Hijacked>,
    guard: Box<dyn Send + Sync>,
) {
    if let Err(error) = try_hand_over(socket, head, unread, receiver).await {
        log::debug!("a hijacked connection broke: {error}");
    }
    drop(guard);
}

async fn try_hand_over(mut socket: Socket, head: Bytes, unread: Bytes, receiver: Sender<Hijacked>) -> io::Result<()> {
    socket.write_all(&head).await?;
    if unread.is_empty() {
        let wrap = Hijacked::wrapper(&socket);
        // The app may have given up waiting; then the socket closes here.
        let _ = receiver.send(wrap(socket.into_fd()?));
        return Ok(());
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    if receiver.send(Hijacked::Unix(theirs.into_std()?.into())).is_ok() {
        ours.write_all(&unread).await?;
        copy_bidirectional(&mut ours, &mut socket).await?;
    }
    Ok(())
}
