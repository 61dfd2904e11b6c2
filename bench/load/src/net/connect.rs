//! Opening connections, and upgrading them. These calls block, since the measured time has not begun.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::socket::Socket;
use crate::failure::Failure;
use crate::protocol::http::Head;
use crate::protocol::stream::Stream;

/// How long the server may take for each step of opening a connection.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long opening all connections may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// A port of this machine: there is no way to name another machine.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its number.
    pub port: u16,
    /// Whether the server expects TLS there.
    pub encrypted: bool,
}

/// Opens connections to a target.
#[derive(Debug, Clone, Copy)]
pub struct Opener {
    target: Target,
    deadline: Instant,
}

/// A connection, and the bytes that were read from it but not parsed yet.
#[derive(Debug)]
pub struct Connection {
    /// The socket. A TLS handshake is done when something is written or read.
    pub socket: Socket,
    /// Bytes that were read but not parsed yet.
    pub rest: Vec<u8>,
}

impl Opener {
    /// An opener whose time begins now.
    pub fn new(target: Target) -> Self {
        Opener { target, deadline: Instant::now() + OPEN_TIMEOUT }
    }

    /// Opens a connection.
    pub fn open(self) -> Result<Connection, Failure> {
        if Instant::now() > self.deadline {
            return Err(Failure::Broken(format!("the connections were not open within {OPEN_TIMEOUT:?}")));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.target.port));
        let connect = || {
            let socket = TcpStream::connect_timeout(&address, STEP_TIMEOUT)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(STEP_TIMEOUT))?;
            socket.set_write_timeout(Some(STEP_TIMEOUT))?;
            if self.target.encrypted { Socket::encrypted(socket) } else { Ok(Socket::Plain(socket)) }
        };
        match connect() {
            Ok(socket) => Ok(Connection { socket, rest: Vec::new() }),
            Err(error) => Err(Failure::system(&format!("connecting to {address}"), &error)),
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
