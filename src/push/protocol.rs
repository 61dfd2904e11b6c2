//! What a client and the server have agreed to speak.

use crate::channel::{Encoding, Since};

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events, WHATWG HTML section 9.2.
    Sse,
}

/// What a client speaks, and what its app knows of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// The protocol.
    pub protocol: Protocol,
    /// How it gets channel messages: of a WebSocket, whether the subprotocol is push.v1.
    pub encoding: Encoding,
    /// Up to where it has got messages before, as it says itself.
    pub since: Since,
    /// It polls: it gets its event stream in the answers to long polls.
    pub polls: bool,
}

/// The WebSocket subprotocol in which text messages hold the blocks of an event stream.
pub const SUBPROTOCOL: &str = "push.v1";
