//! Handing a connection's socket to the app, for `rack.hijack`.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use crossbeam_channel::Sender;
use http::StatusCode;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};

/// A socket for the app. It is in non-blocking mode, as Ruby's sockets are.
#[derive(Debug)]
pub enum Hijacked {
    /// The connection itself.
    Connection(OwnedFd),
    /// One end of a pair of sockets whose other end is pumped into the connection: bytes had
    /// been read from it already, and must be read first.
    Pumped(OwnedFd),
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
pub(super) async fn hand_over(socket: TcpStream, unread: Bytes, hijack: Hijack, guard: Box<dyn Send + Sync>) {
    if let Err(error) = try_hand_over(socket, unread, hijack).await {
        log::debug!("a hijacked connection broke: {error}");
    }
    drop(guard);
}

async fn try_hand_over(mut socket: TcpStream, unread: Bytes, hijack: Hijack) -> io::Result<()> {
    socket.write_all(&hijack.head).await?;
    if unread.is_empty() {
        // The app may have given up waiting; then the socket closes here.
        let _ = hijack.receiver.send(Hijacked::Connection(socket.into_std()?.into()));
        return Ok(());
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    if hijack.receiver.send(Hijacked::Pumped(theirs.into_std()?.into())).is_ok() {
        ours.write_all(&unread).await?;
        copy_bidirectional(&mut ours, &mut socket).await?;
    }
    Ok(())
}
