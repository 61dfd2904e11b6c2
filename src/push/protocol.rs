//! What a client and the server have agreed to speak, and what the server itself says in each protocol.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::queue::{Frame, Queue};
use crate::base::limits::Limits;
use crate::channel::{Encoding, Shape, Since};
use crate::sse;
use crate::websocket::close::{CloseStatus, code};
use crate::websocket::deflate::Agreement;
use crate::websocket::{Opcode, frame};

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events, WHATWG HTML section 9.2.
    Sse,
}

impl Protocol {
    /// The status of the response that begins a stream in HTTP/1 (RFC 6455 section 4.2.2).
    pub fn status(self) -> StatusCode {
        match self {
            Protocol::WebSocket => StatusCode::SWITCHING_PROTOCOLS,
            Protocol::Sse => StatusCode::OK,
        }
    }
}

/// What a client speaks, and what its app knows of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// The protocol.
    pub protocol: Protocol,
    /// How it gets channel messages: of a WebSocket, whether the subprotocol is push.v1, and whether they are compressed.
    pub encoding: Encoding,
    /// How a WebSocket compresses messages. `None`: it does not.
    pub deflate: Option<Agreement>,
    /// Up to where it has got messages before, as it says itself.
    pub since: Since,
    /// It polls: it gets its event stream in the answers to long polls.
    pub polls: bool,
}

impl Negotiated {
    /// Queues what a stream begins with, behind the head of its response. `pause` gives the milliseconds after which a client
    /// that is cut off may reconnect.
    pub(super) fn push_greeting(&self, queue: &mut Queue, pause: impl FnOnce() -> u64) {
        match self.protocol {
            Protocol::WebSocket => {}
            Protocol::Sse => queue.push(Frame::own(sse::retry(pause()))),
        }
    }

    /// Queues the request to reconnect after `pause` milliseconds, for a client whose protocol has one.
    pub(super) fn push_retry(&self, queue: &mut Queue, pause: u64) {
        let retry = sse::retry(pause);
        match self.encoding.shape {
            Shape::EventStream => queue.push(Frame::own(retry)),
            Shape::PushV1 => Frame::message(Opcode::Text, &retry).for_each(|frame| queue.push(Frame::own(frame.bytes))),
            Shape::Raw => {}
        }
    }

    /// Queues a Close frame, if the client is a WebSocket and the status may be sent.
    pub(super) fn push_close(&self, queue: &mut Queue, status: &CloseStatus) {
        if self.protocol == Protocol::WebSocket && status.code != code::ABNORMAL {
            queue.push(Frame::own(frame::close(status)));
        }
    }

    /// How often an idle connection gets a heartbeat, unless the app says otherwise. `None`: never.
    pub(super) fn heartbeat_interval(&self, limits: &Limits) -> Option<Duration> {
        match self.protocol {
            Protocol::WebSocket => limits.ping_interval,
            Protocol::Sse => limits.sse_heartbeat,
        }
    }

    /// What keeps an idle connection open.
    pub(super) fn heartbeat(&self) -> Bytes {
        match self.protocol {
            Protocol::WebSocket => frame::control(Opcode::Ping, &[]),
            Protocol::Sse => sse::heartbeat(),
        }
    }

    /// Whether the client must answer a heartbeat, which may then go ahead of what waits. If it need not, a connection that
    /// is gone is noticed only when the heartbeat cannot be sent.
    pub(super) fn answers_heartbeats(&self) -> bool {
        self.protocol == Protocol::WebSocket
    }
}

/// The WebSocket subprotocol in which text messages hold the blocks of an event stream.
pub const SUBPROTOCOL: &str = "push.v1";
