//! A connection under load, which never waits.

use std::io::{self, ErrorKind, Read, Write};

use super::connect::Connection;
use super::socket::Socket;

/// Bytes that are kept free for the beginning of a message whose end has not come.
const TAIL: usize = 4096;

/// A connection under load.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    /// Bytes that the socket had no room for. Empty if the server keeps up.
    unsent: Vec<u8>,
    /// The beginning of a message whose end has not come.
    tail: Vec<u8>,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The number of bytes, with the old tail, and whether there may be more.
    Bytes(usize, bool),
    /// Nothing for now.
    Nothing,
    /// The server has closed the connection.
    End,
}

impl Wire {
    /// Takes over a connection.
    pub fn new(connection: Connection) -> io::Result<Self> {
        connection.socket.set_nonblocking(true)?;
        let mut tail = Vec::with_capacity(TAIL);
        tail.extend_from_slice(&connection.rest);
        Ok(Wire { socket: connection.socket, unsent: Vec::new(), tail })
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends `bytes`, now or as soon as there is room.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { write(&mut self.socket, bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends what there was no room for.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write(&mut self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        // With TLS, something may be held back.
        match self.socket.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// Whether something waits for room, or for a TLS handshake.
    pub fn waits(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads into `buffer`, behind the tail, which is put at its beginning.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Reading> {
        let (old, room) = buffer.split_at_mut(self.tail.len());
        match self.socket.read(room) {
            Ok(0) => Ok(Reading::End),
            Ok(count) => {
                old.copy_from_slice(&self.tail);
                self.tail.clear();
                // With TLS, each read brings one record.
                Ok(Reading::Bytes(old.len() + count, count == room.len() || self.socket.is_encrypted()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Reading::Nothing),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                Ok(Reading::End)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps the beginning of a message until its end has come.
    pub fn keep(&mut self, tail: &[u8]) {
        self.tail.extend_from_slice(tail);
    }
}

fn write(socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
