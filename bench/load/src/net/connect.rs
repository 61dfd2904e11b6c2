//! Opening connections, and upgrading them. These calls block, since the measured time has not begun.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::protocol::http::Head;
use crate::protocol::stream::Stream;

/// How long the server may take for each step of opening a connection.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long opening all connections may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens connections to one port of this machine: there is no way to name another machine.
#[derive(Debug, Clone, Copy)]
pub struct Opener {
    address: SocketAddr,
    deadline: Instant,
}

/// A connection, and the bytes that were read from it but not parsed yet.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// Bytes that were read but not parsed yet.
    pub rest: Vec<u8>,
}

impl Opener {
    /// An opener whose time begins now.
    pub fn new(port: u16) -> Self {
        Opener { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), deadline: Instant::now() + OPEN_TIMEOUT }
    }

    /// Opens a connection.
    pub fn open(self) -> Result<Connection, Failure> {
        if Instant::now() > self.deadline {
            return Err(Failure::Broken(format!("the connections were not open within {OPEN_TIMEOUT:?}")));
        }
        let connect = || {
            let socket = TcpStream::connect_timeout(&self.address, STEP_TIMEOUT)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(STEP_TIMEOUT))?;
            socket.set_write_timeout(Some(STEP_TIMEOUT))?;
            Ok(socket)
        };
        match connect() {
            Ok(socket) => Ok(Connection { socket, rest: Vec::new() }),
            Err(error) => Err(Failure::system(&format!("connecting to {}", self.address), &error)),
        }
    }

    /// Opens a push connection.
    pub fn upgrade(self, stream: Stream, path: &str) -> Result<Connection, Failure> {
        let mut connection = self.open()?;
        let sent = connection.socket.write_all(&stream.request(path));
        sent.map_err(|error| Failure::system("sending a handshake", &error))?;
        loop {
            match Head::parse(&connection.rest).map_err(Failure::Broken)? {
                Some(head) if stream.accepts(&head) => {
                    let length = head.length;
                    connection.rest.drain(..length);
                    return Ok(connection);
                }
                Some(head) => return Err(Failure::Unsupported(stream.refusal(path, &head))),
                None => connection.read()?,
            }
        }
    }
}

impl Connection {
    /// Blocks until more bytes have come.
    pub fn read(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err(Failure::Broken("the server closed a connection while it was opened".into())),
            Ok(count) => {
                self.rest.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(Failure::system("waiting for the answer to a handshake", &error)),
        }
    }
}
