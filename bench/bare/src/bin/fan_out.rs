//! `fan_out PORT`: sends each message of one WebSocket to all others, by a loop that does nothing but `send`. This is the
//! upper bound for a server on one thread that makes one system call for each client.
//!
//!     bin/bench publish --against 'send=bench/bare/target/release/fan_out %{port}'

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

/// The answer that bench/load expects, since it always sends the key of RFC 6455 section 1.3.
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const READY: &[u8] = b"\x81\x05ready";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("usage: fan_out PORT [LISTENERS]")?.parse()?;
    let count = arguments.next().map_or(Ok(1000), |count| count.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    // The first connection of a load publishes. It sends nothing until all others are open.
    loop {
        let publisher = accept(&listener)?;
        let mut others = Vec::new();
        for _ in 0..count {
            let mut other = accept(&listener)?;
            other.write_all(READY)?;
            other.set_nonblocking(true)?;
            others.push(other);
        }
        serve(publisher, &others)?;
    }
}

/// The next WebSocket. A connection that is closed at once, to check that the port is open, is skipped.
fn accept(listener: &TcpListener) -> Result<TcpStream> {
    loop {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let (mut head, mut part) = (Vec::new(), [0; 4096]);
        while let length @ 1.. = socket.read(&mut part)? {
            head.extend_from_slice(&part[..length]);
            if head.ends_with(b"\r\n\r\n") {
                socket.write_all(SWITCH)?;
                return Ok(socket);
            }
        }
    }
}

/// Runs until the publisher closes. A listener that takes nothing ends the program, which is no real server.
fn serve(mut publisher: TcpStream, others: &[TcpStream]) -> Result<()> {
    let (mut buffer, mut filled) = (vec![0; 64 * 1024], 0);
    loop {
        match publisher.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            length => filled += length,
        }
        while let Some((frame, length)) = unmasked(&buffer[..filled]) {
            for mut other in others {
                // An error means that the client has gone.
                if other.write(&frame).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    return Err("a listener is slow".into());
                }
            }
            buffer.copy_within(length..filled, 0);
            filled -= length;
        }
    }
}

/// The first frame, as a server sends it, and its length as it came: text of 126 to 65535 bytes.
fn unmasked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let [0x81, 0xFE, high, low, mask @ ..] = bytes else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (mask, masked) = mask.split_at_checked(4)?;
    let mut frame = vec![0x81, 126, *high, *low];
    frame.extend(masked.get(..length)?.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    Some((frame, 8 + length))
}
