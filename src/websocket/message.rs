//! A whole message that a client sent.

use bytes::Bytes;

/// A whole message that a client sent, of one frame or of many.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Valid UTF-8.
    Text(Bytes),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// Bytes of the payload.
    pub fn len(&self) -> usize {
        match self {
            Message::Text(bytes) | Message::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
