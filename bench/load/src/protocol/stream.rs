//! The messages of a WebSocket or an event stream.

use super::http::{self, Head};
use super::{sse, websocket};

/// What kind of push connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events.
    EventStream,
}

/// What a server has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A message.
    Message(&'a [u8]),
    /// A ping, which wants to be answered.
    Ping(&'a [u8]),
    /// A pong, which nobody asked for.
    Pong,
}

impl Stream {
    /// The request that opens one.
    pub fn request(self, path: &str) -> Vec<u8> {
        match self {
            Stream::WebSocket => websocket::handshake(path),
            Stream::EventStream => sse::request(path),
        }
    }

    /// Whether a head opens one.
    pub fn accepts(self, head: &http::Head) -> bool {
        match self {
            Stream::WebSocket => websocket::accepts(head),
            Stream::EventStream => sse::accepts(head),
        }
    }

    /// What `bytes` begin with, and the number of bytes up to its end; nothing if it has not come whole.
    pub fn next(self, bytes: &[u8]) -> Result<Option<(Incoming<'_>, usize)>, String> {
        match self {
            Stream::EventStream => Ok(sse::next(bytes).map(|(data, length)| (Incoming::Message(data), length))),
            Stream::WebSocket => {
                let Some(frame) = websocket::Frame::parse(bytes)? else { return Ok(None) };
                let incoming = match frame.opcode {
                    // To Agoo's handlers all data is binary, and so is what they write.
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

    /// What an answer should have been that is none of ours.
    pub fn refusal(self, path: &str, head: &Head) -> String {
        let due = match self {
            Stream::WebSocket => "101 and the right key",
            Stream::EventStream => "200 and an event stream",
        };
        format!("GET {path} was answered with status {}, not {due}", head.status)
    }
}
