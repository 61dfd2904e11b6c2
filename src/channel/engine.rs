//! Where messages get their order: the seam between a process and whatever lies beyond it.
//!
//! An engine numbers messages and keeps them until the process has taken them into its
//! [`super::log`], in order and without holes. Everything else (channels, floors, readers) is
//! above the seam and the same for every engine.

use std::sync::Arc;

use super::cursor::Epoch;
use super::error::EngineError;
use super::message::Message;

/// A message has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its number: higher than those of all messages before it. The first is at least 1.
    pub seq: u64,
    /// Bytes of messages in the engine that the process has not taken yet.
    pub waiting: usize,
}

/// An ordered source of messages.
pub trait Engine: Send + Sync {
    /// The log's epoch.
    fn epoch(&self) -> Epoch;

    /// The number of the newest message; 0 if there has been none. Any thread.
    fn last(&self) -> u64;

    /// Gives the message a number and makes it part of the log. Any thread.
    ///
    /// Whoever takes the messages is woken once for all that come until it takes them.
    fn publish(&self, message: Arc<Message>) -> Result<Published, EngineError>;

    /// Appends to `messages` those after `from`, in order and without holes. Each is handed out
    /// once; does not wait for more. Callers take turns: the log's lock is held.
    fn tail(&self, from: u64, messages: &mut Vec<Arc<Message>>);

    /// The process has taken over all up to `seq`, and never asks for it again.
    fn trim(&self, seq: u64);
}
