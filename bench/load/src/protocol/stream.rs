//! The messages of a WebSocket or an event stream.

use super::http::{self, Head};
use super::{sse, websocket};

/// What kind of push connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// RFC 6455.
    WebSocket,
    /// RFC 6455 with compressed messages: RFC 7692.
    Deflated,
    /// Server-Sent Events.
    Sse,
}

/// What a server has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message.
    Message(&'a [u8]),
    /// A compressed message.
    Compressed(&'a [u8]),
    /// A ping, which must be answered.
    Ping(&'a [u8]),
    /// A pong without a ping.
    Pong,
}

impl Stream {
    /// The request that opens such a stream.
    pub fn request(self, path: &str) -> Vec<u8> {
        match self {
            Stream::WebSocket => websocket::handshake(path, false),
            Stream::Deflated => websocket::handshake(path, true),
            Stream::Sse => sse::request(path),
        }
    }

    /// Whether a head opens such a stream.
    pub fn accepts(self, head: &http::Head) -> bool {
        match self {
            Stream::WebSocket => websocket::accepts(head, false),
            Stream::Deflated => websocket::accepts(head, true),
            Stream::Sse => sse::accepts(head),
        }
    }

    /// The message that `bytes` begin with, and its length; `None` if its end has not come.
    pub fn next(self, bytes: &[u8]) -> Result<Option<(Incoming<'_>, usize)>, String> {
        match self {
            Stream::Sse => Ok(sse::next(bytes).map(|(data, length)| (Incoming::Message(data), length))),
            Stream::WebSocket | Stream::Deflated => {
                let Some(frame) = websocket::Frame::parse(bytes)? else { return Ok(None) };
                let incoming = match frame.opcode {
                    websocket::TEXT | websocket::BINARY if frame.compressed => Incoming::Compressed(frame.payload),
                    // Agoo's handlers get all data as binary, and write it as binary.
                    websocket::TEXT | websocket::BINARY => Incoming::Message(frame.payload),
                    websocket::PING => Incoming::Ping(frame.payload),
                    websocket::PONG => Incoming::Pong,
                    websocket::CLOSE => return Err(format!("a Close frame, {:?}", frame.payload)),
                    opcode => return Err(format!("a frame of opcode {opcode} where a message was due")),
                };
                Ok(Some((incoming, frame.length)))
            }
        }
    }

    /// The error for an answer that refuses the stream.
    pub fn refusal(self, path: &str, head: &Head) -> String {
        let due = match self {
            Stream::WebSocket => "101 and the right key",
            Stream::Deflated => "101, the right key and compression",
            Stream::Sse => "200 and an event stream",
        };
        format!("GET {path} was answered with status {}, not {due}", head.status)
    }
}
