//! A connection to the hub: the socket and its two buffers.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::machine::{HubError, Machine, Now};

/// The most bytes that one turn reads or writes. Then the other tasks of the reactor have their turns.
const TURN: usize = 256 * 1024;

/// How much is read or written at once. Longer frames take several reads.
const CHUNK: usize = 64 * 1024;

/// What a turn of a connection has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn {
    /// The socket has no bytes to read for now.
    pub(super) read_blocked: bool,
    /// There is something to write, and the socket takes nothing for now.
    pub(super) write_blocked: bool,
    /// There is more to read or write than one turn may.
    pub(super) more: bool,
    /// Nothing is to be read for now: the app is not loaded.
    pub(super) paused: bool,
    /// Nothing more comes.
    pub(super) ended: bool,
}

/// A connection. Its socket does not block.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Arc<UnixStream>,
    /// Bytes that were read, up to `filled`, and room for more.
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    /// How many bytes of `output` are written.
    written: usize,
    /// Writing has failed: the hub takes nothing any more. What it has sent before can still be read.
    write_failed: bool,
}

impl Connection {
    /// A connection over which nothing was sent.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(socket);
        Ok(Connection { socket, input: Vec::new(), filled: 0, output: Vec::new(), written: 0, write_failed: false })
    }

    /// The socket.
    pub(super) fn socket(&self) -> &Arc<UnixStream> {
        &self.socket
    }

    /// Reads what there is, and gives the machine the whole frames.
    pub(super) fn read(&mut self, machine: &mut Machine, now: Now, turn: &mut Turn) -> Result<(), HubError> {
        for _ in 0..TURN / CHUNK {
            if self.input.len() - self.filled < CHUNK {
                self.input.resize(self.filled + CHUNK, 0);
            }
            match (&*self.socket).read(&mut self.input[self.filled..]) {
                Ok(0) => turn.ended = true,
                Ok(bytes) => self.filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    turn.read_blocked = true;
                    return Ok(());
                }
                // A reset, for example: nothing more can be read.
                Err(_) => turn.ended = true,
            }
            if turn.ended {
                return Ok(());
            }
            let taken = machine.receive(&self.input[..self.filled], now)?;
            self.input.copy_within(taken..self.filled, 0);
            self.filled -= taken;
            if self.filled < CHUNK && self.input.len() > 4 * CHUNK {
                self.input.truncate(2 * CHUNK);
                self.input.shrink_to_fit();
            }
        }
        turn.more = true;
        Ok(())
    }

    /// Writes what the machine has to say, as long as the socket takes it.
    pub(super) fn write(&mut self, machine: &mut Machine, now: Now, turn: &mut Turn) {
        for _ in 0..TURN / CHUNK {
            if self.written == self.output.len() {
                self.output.clear();
                self.output.shrink_to(4 * CHUNK);
                self.written = 0;
                machine.write(now, &mut self.output, CHUNK);
                if self.output.is_empty() {
                    return;
                }
            }
            if self.write_failed {
                // It is lost. The messages in it are sent again over the next connection.
                self.written = self.output.len();
                return;
            }
            match (&*self.socket).write(&self.output[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    turn.write_blocked = true;
                    return;
                }
                Err(_) => {
                    self.write_failed = true;
                    // If the hub still reads, it ends the connection, and this worker gets another one.
                    let _ = self.socket.shutdown(Shutdown::Write);
                }
            }
        }
        turn.more = true;
    }

    /// Ends the connection from this side.
    pub(super) fn shut_down(&self) {
        // Fails only if it has ended.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
