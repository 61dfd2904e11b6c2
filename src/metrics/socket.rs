//! A connection with its socket.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use rustix::io::{Errno, read};
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::connection::{Connection, Next};
use super::figures::Source;

/// A connection with its socket, which does not block.
#[derive(Debug)]
pub(super) struct ClientSocket {
    socket: OwnedFd,
    connection: Connection,
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ClientSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl ClientSocket {
    pub(super) fn new(socket: OwnedFd, now: Instant) -> Self {
        ClientSocket { socket, connection: Connection::new(now) }
    }

    /// What it waits for.
    pub(super) fn next(&self, now: Instant) -> Next {
        self.connection.next(now)
    }

    /// Whether its client may expect the response soon.
    pub(super) fn is_expected(&self, now: Instant) -> bool {
        self.connection.is_expected(now)
    }

    /// When it is over in any case.
    pub(super) fn deadline(&self) -> Instant {
        self.connection.deadline()
    }

    /// Reads and writes until the socket blocks, or until the connection is over.
    pub(super) fn advance(&mut self, source: &Source, now: Instant) {
        let mut piece = [0; 4096];
        loop {
            let blocked = match self.connection.next(now) {
                Next::Nothing => return,
                Next::Read => match read(&self.socket, &mut piece) {
                    Ok(count) => {
                        self.connection.receive(&piece[..count], now, || source());
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                // A client that is gone is no signal.
                Next::Write => match send(&self.socket, self.connection.output(), SendFlags::NOSIGNAL) {
                    Ok(count) => {
                        if self.connection.sent(count, now) {
                            // Fails only if the client is gone.
                            let _ = shutdown(&self.socket, Shutdown::Write);
                        }
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            match blocked {
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.connection.fail(),
            }
        }
    }
}
