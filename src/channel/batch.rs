//! How much a reader gets at once, and how far it is behind.

use super::encoding::Deflations;
use super::notice::Notice;
use crate::base::timers::Stamp;

/// The result of one read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many messages.
    pub messages: usize,
    /// Bytes of messages and notices.
    pub bytes: usize,
    /// The batch is full, and there is more: read again. The reader will not be woken for the rest.
    pub more: bool,
    /// The next message is being compressed. The reader is woken when it can read on, and not before.
    pub waits: bool,
    /// The log's memory was full, and messages that the reader had not got are gone: close its connection. Nothing was
    /// read.
    pub overrun: bool,
    /// What the server itself tells the reader. If the encoding can express it, it is also in the bytes.
    pub notices: Vec<Notice>,
    /// When the newest of the messages was published. Messages that were published before the reader subscribed do not count.
    pub newest: Option<Stamp>,
    /// What was compressed for it, and for readers after it. Boxed, because there is seldom something.
    pub deflations: Option<Box<Deflations>>,
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
