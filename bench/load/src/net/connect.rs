//! Opening connections, and upgrading them. Here waiting is allowed: no clock is running yet.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::protocol::http::Head;
use crate::protocol::stream::Stream;

/// What the server may take for any step of opening a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What opening all connections may take.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(60);

/// Opens connections to one port of this machine: there is no way to name another machine.
#[derive(Debug, Clone, Copy)]
pub struct Opener {
    address: SocketAddr,
    deadline: Instant,
}

/// A connection, and what has come on it that nobody has looked at.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// What was read and not looked at.
    pub rest: Vec<u8>,
}

impl Opener {
    /// One whose time begins now.
    pub fn new(port: u16) -> Self {
        Opener { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), deadline: Instant::now() + PATIENCE_FOR_ALL }
    }

    /// Opens a connection.
    pub fn open(self) -> Result<Connection, Failure> {
        if Instant::now() > self.deadline {
            return Err(Failure::Broken(format!("the connections were not open within {PATIENCE_FOR_ALL:?}")));
        }
        let connect = || {
            let socket = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
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
    /// Waits for more to have come.
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
