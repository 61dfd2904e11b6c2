//! The hub's connection to its supervisor: lines of words.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::ioctl_fionbio;

use super::orders::Order;
use crate::base::lines::{LineReader, LineWriter};

/// The longest line of the supervisor: it names all processes.
const LINE: usize = 256 << 10;

/// The connection to the supervisor, which never waits.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    reader: LineReader,
    writer: LineWriter,
}

/// What has come from the supervisor.
#[derive(Debug)]
pub(super) enum Heard {
    Order(Order),
    /// Nothing yet.
    Nothing,
    /// The supervisor is gone.
    Gone,
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Link {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&socket, true)?;
        Ok(Link { socket, reader: LineReader::new(LINE), writer: LineWriter::new(LINE) })
    }

    /// What the loop has to wait for.
    pub(super) fn flags(&self) -> PollFlags {
        if self.writer.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Tells the supervisor something, now or as soon as the socket takes it.
    pub(super) fn tell(&mut self, line: &str) -> io::Result<()> {
        self.writer.push(line, Vec::new())?;
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.writer.flush(&self.socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// The next order. Lines that are none are logged and skipped.
    pub(super) fn hear(&mut self) -> io::Result<Heard> {
        loop {
            let line = match self.reader.read(&self.socket) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(Heard::Gone),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Heard::Gone),
                Err(error) => return Err(error),
            };
            let text = line.text.clone();
            match Order::parse(line) {
                Some(order) => return Ok(Heard::Order(order)),
                None => log::error!("the hub does not understand its supervisor, or has no free descriptor: {text}"),
            }
        }
    }
}
