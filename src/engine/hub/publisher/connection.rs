//! A connection of a publisher: a Unix socket that never blocks, and what waits to be written to it or to be taken from it.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send};

/// Bytes that are read in one go.
const CHUNK: usize = 16 * 1024;

/// macOS has a socket option in its place.
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::empty();

pub(super) struct Connection {
    /// Shared with the thread that waits for it, so that its number is not used again meanwhile.
    socket: Arc<OwnedFd>,
    /// What is to be sent.
    pub(super) out: Vec<u8>,
    /// What was received, and is no whole frame yet.
    pub(super) received: Vec<u8>,
}

impl Connection {
    /// Connects. `WouldBlock`: the server's backlog is full.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Connection { socket: Arc::new(socket), out: Vec::new(), received: Vec::new() })
    }

    /// What is to be waited for.
    pub(super) fn interest(&self) -> Interest {
        Interest { socket: Arc::clone(&self.socket), writes: !self.out.is_empty() }
    }

    /// Sends what the socket takes. `false`: the connection has ended. Then there may still be something to [`Self::read`].
    pub(super) fn flush(&mut self) -> bool {
        let mut sent = 0;
        let alive = loop {
            if sent == self.out.len() {
                break true;
            }
            match send(&self.socket, &self.out[sent..], SEND) {
                Ok(bytes) => sent += bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break true,
                Err(_) => break false,
            }
        };
        self.out.drain(..sent);
        alive
    }

    /// Reads once. `Ok(false)`: there is nothing to read now.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let start = self.received.len();
        self.received.resize(start + CHUNK, 0);
        let result = loop {
            match recv(&self.socket, &mut self.received[start..], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        self.received.truncate(start + result.as_ref().map_or(0, |(bytes, _)| *bytes));
        match result {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits for sockets, and can be woken by any thread.
pub(super) struct Wake {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        ioctl_fionbio(&reader, true)?;
        ioctl_fionbio(&writer, true)?;
        Ok(Wake { reader, writer })
    }

    /// Ends the present or the next wait. Does not block.
    pub(super) fn notify(&self) {
        // If the pipe is full, the wait ends anyway.
        let _ = (&self.writer).write(&[0]);
    }

    /// Waits until there is something to read, or until the socket takes more if there is something to write. At the latest
    /// until `deadline`.
    pub(super) fn wait(&self, connection: Option<Interest>, deadline: Instant) {
        let mut sockets = vec![PollFd::new(&self.reader, PollFlags::IN)];
        if let Some(Interest { socket, writes }) = &connection {
            let flags = if *writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            sockets.push(PollFd::new(socket, flags));
        }
        // Not less than what is left, or the caller would come back at once, again and again.
        let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(100);
        let timeout = Timespec::try_from(left).ok();
        // An error is an interruption by a signal: the caller looks what there is to do, and comes back.
        if poll(&mut sockets, timeout.as_ref()).is_ok() && !sockets[0].revents().is_empty() {
            let _ = (&self.reader).read(&mut [0; 64]);
        }
    }
}

/// What a thread waits for at a connection.
pub(super) struct Interest {
    socket: Arc<OwnedFd>,
    writes: bool,
}

#[cfg(not(target_vendor = "apple"))]
fn socket() -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

#[cfg(target_vendor = "apple")]
fn socket() -> io::Result<OwnedFd> {
    use rustix::io::{FdFlags, fcntl_setfd};
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}
