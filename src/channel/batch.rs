//! How much a reader gets at once, and how far it is behind.

use super::notice::Notice;

/// What one read gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many messages.
    pub messages: usize,
    /// Bytes of messages and notices.
    pub bytes: usize,
    /// There was no room for all: read again. Nobody wakes a reader that knows.
    pub more: bool,
    /// The log's memory was full, and messages are gone that the reader had not got: close its
    /// connection. Nothing was read.
    pub overrun: bool,
    /// What the reader was told beside messages. It is in the bytes already, where the form has a
    /// way to say it.
    pub notices: Vec<Notice>,
}

impl Batch {
    pub(super) fn is_full(&self, limit: BatchLimit) -> bool {
        self.messages >= limit.messages || self.bytes >= limit.bytes
    }
}

/// How far a reader is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages in its channels.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// How much a reader gets at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimit {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}
