//! Handing a connection's socket to the app, for `rack.hijack`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingUnixStream;

use bytes::Bytes;
use crossbeam_channel::Sender;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::head::ResponseHead;
use super::hijacked_body::HijackedBody;
use crate::base;
use crate::base::lifecycle::Phase;
use crate::net::Socket;

/// Bytes that are carried at once between the app and a client whose descriptor the app cannot have.
const BUFFER: usize = 16 * 1024;

/// A socket for the app. It is in non-blocking mode, as Ruby's sockets are.
#[derive(Debug)]
pub enum Hijacked {
    /// The connection itself, which came by TCP.
    Tcp(OwnedFd),
    /// The connection itself, if the client came by a Unix socket. Or one end of a pair of Unix sockets, if the connection is
    /// encrypted, or if bytes after the request were read already: the app must read these first. The server copies between
    /// the other end of the pair and the connection.
    Unix(OwnedFd),
}

impl Hijacked {
    /// The variant of [`Hijacked`] for a descriptor of `socket`. `None`: its descriptor is of no use to the app.
    pub(super) fn wrapper(socket: &Socket) -> Option<fn(OwnedFd) -> Hijacked> {
        match socket {
            Socket::Tcp(_) => Some(Hijacked::Tcp),
            Socket::Unix(_) => Some(Hijacked::Unix),
            Socket::Tls(_) => None,
        }
    }
}

/// A request of the app for its socket.
#[derive(Debug)]
pub(super) struct Hijack {
    /// To be sent before the app gets the socket; `None` if the app writes its own.
    pub(super) head: Option<ResponseHead>,
    pub(super) app: AppEnd,
}

/// How the app gets its end of the connection. If this is dropped, the app sees that the connection is broken.
#[derive(Debug)]
pub(super) enum AppEnd {
    /// The app waits for it.
    Awaited(Sender<Hijacked>),
    /// The app has one end of a pair of sockets already. This is the other end.
    Paired(BlockingUnixStream),
}

impl AppEnd {
    /// A pair of sockets, of which the app gets one end at once.
    pub(super) fn pair() -> io::Result<(AppEnd, Hijacked)> {
        let (ours, theirs) = BlockingUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((AppEnd::Paired(ours), Hijacked::Unix(theirs.into())))
    }

    /// The server's end of a pair of sockets, whose other end the app has. Fails if the app has given up waiting. Only within
    /// the reactor.
    pub(super) fn into_pair(self) -> io::Result<UnixStream> {
        match self {
            AppEnd::Awaited(app) => {
                let (ours, theirs) = UnixStream::pair()?;
                let theirs = Hijacked::Unix(theirs.into_std()?.into());
                app.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                Ok(ours)
            }
            AppEnd::Paired(ours) => UnixStream::from_std(ours),
        }
    }
}

/// Writes `head` to `socket`, and gives the socket to the app. `unread` are bytes that were read from the
/// socket already. `guard` lives as long as the socket belongs to the server.
pub(super) async fn hand_over(
    socket: Socket,
    head: Bytes,
    unread: Bytes,
    app: AppEnd,
    base: &base::Context,
    guard: Box<dyn Send + Sync>,
) {
    if let Err(error) = try_hand_over(socket, head, unread, app, base).await {
        log::debug!("a hijacked connection broke: {error}");
    }
    drop(guard);
}

async fn try_hand_over(
    mut socket: Socket,
    head: Bytes,
    unread: Bytes,
    app: AppEnd,
    base: &base::Context,
) -> io::Result<()> {
    socket.write_all(&head).await?;
    socket.flush().await?;
    if let AppEnd::Awaited(app) = &app
        && let Some(wrap) = Hijacked::wrapper(&socket).filter(|_| unread.is_empty())
    {
        // The app may have given up waiting; then the socket closes here.
        let _ = app.send(wrap(socket.into_fd()?));
        return Ok(());
    }
    let ours = app.into_pair()?;
    let same = UnixStream::from_std(ours.as_fd().try_clone_to_owned()?.into())?;
    pump(socket, ours, &same, &unread, HijackedBody::UntilClose, base).await
}

/// Carries `unread` and what the client sends to the app, and what the app writes to the client, until the app has closed
/// its socket or the connection breaks. The app may close without reading all: the client gets the answer nevertheless.
/// `same` is another descriptor of `ours`. `body` is what the app writes.
///
/// A server that stops does not wait for hijacked connections. It ends the app's input, as a client does that closes its side, and
/// cuts the connection if the app has not closed its socket within `close_timeout`.
pub(super) async fn pump(
    socket: impl AsyncRead + AsyncWrite,
    mut ours: UnixStream,
    same: &UnixStream,
    unread: &[u8],
    mut body: HijackedBody,
    base: &base::Context,
) -> io::Result<()> {
    let (mut from_app, mut to_app) = ours.split();
    let (mut from_client, mut to_client) = tokio::io::split(socket);
    let mut phase = base.lifecycle.receiver();
    let inbound = async {
        let carrying = async {
            let mut buffer = vec![0; BUFFER];
            let mut sent = to_app.write_all(unread).await;
            while sent.is_ok()
                && let length @ 1.. = from_client.read(&mut buffer).await?
            {
                sent = to_app.write_all(&buffer[..length]).await;
            }
            Ok::<_, io::Error>(())
        };
        tokio::select! {
            carried = carrying => carried?,
            () = phase.reached(Phase::Draining) => {}
        }
        // The client has sent all, or the app has closed its socket, or the server stops. The app's answer may still be on
        // its way.
        let _ = to_app.shutdown().await;
        phase.reached(Phase::Draining).await;
        base.timers.sleep(base.limits.close_timeout).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let outbound = async {
        let mut buffer = vec![0; BUFFER];
        // An error is the end, too: the app has closed its socket without reading all.
        while !body.is_complete()
            && let Ok(length @ 1..) = from_app.read(&mut buffer).await
        {
            let length = body.decode(&mut buffer[..length])?;
            to_client.write_all(&buffer[..length]).await?;
            to_client.flush().await?;
        }
        body.end()?;
        to_client.shutdown().await?;
        if body.is_complete() {
            return Ok(());
        }
        // The app may have closed its socket for writing only.
        closed(same).await
    };
    tokio::select! {
        ended = outbound => ended,
        broken = inbound => broken,
    }
}

/// Waits until the other end of a pair of sockets is closed. `same` is another descriptor of this end. This forgets what
/// the reactor knows of a descriptor, so the one that is read and written cannot be used.
async fn closed(same: &UnixStream) -> io::Result<()> {
    while !same.ready(Interest::WRITABLE).await?.is_write_closed() {
        let _: io::Result<()> = same.try_io(Interest::WRITABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }
    Ok(())
}
