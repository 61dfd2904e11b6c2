//! Handing a connection's socket to the app, for `rack.hijack`.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use crossbeam_channel::Sender;
use http::StatusCode;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;

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

/// A request of the app for its socket.
#[derive(Debug)]
pub(super) struct Hijack {
    /// That of `head`; `None` if the app writes its own.
    pub(super) status: Option<StatusCode>,
    /// Written before the app gets the socket: a response head, or nothing.
    pub(super) head: Bytes,
    /// Dropped if the connection breaks first.
    pub(super) receiver: Sender<Hijacked>,
}

/// Gives `socket` to the app; `guard` lives as long as the socket is ours.
pub(super) async fn hand_over(socket: Socket, unread: Bytes, hijack: Hijack, guard: Box<dyn Send + Sync>) {
    if let Err(error) = try_hand_over(socket, unread, hijack).await {
        log::debug!("a hijacked connection broke: {error}");
    }
    drop(guard);
}

async fn try_hand_over(mut socket: Socket, unread: Bytes, hijack: Hijack) -> io::Result<()> {
    socket.write_all(&hijack.head).await?;
    if unread.is_empty() {
        // The app may have given up waiting; then the socket closes here.
        let _ = hijack.receiver.send(match socket {
            Socket::Tcp(_) => Hijacked::Tcp(socket.into_fd()?),
            Socket::Unix(_) => Hijacked::Unix(socket.into_fd()?),
        });
        return Ok(());
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    if hijack.receiver.send(Hijacked::Unix(theirs.into_std()?.into())).is_ok() {
        ours.write_all(&unread).await?;
        copy_bidirectional(&mut ours, &mut socket).await?;
    }
    Ok(())
}
