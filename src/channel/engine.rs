//! Where messages get their order: the seam between a process and whatever lies beyond it.
//!
//! An engine numbers messages and keeps them until the process has taken them into its
//! [`super::log`], in order and without holes. Everything else (channels, floors, readers) is
//! above the seam and the same for every engine.

use std::sync::{Arc, MutexGuard};

use thiserror::Error;

use super::{Epoch, Message, Wake};

use crate::base::lock::Lock;

/// Why an engine did not take a message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// It is away, and as much waits for its return as may.
    #[error("the engine is away, and its queue is full")]
    Unavailable,
}

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

/// The engine of a single process: a number and a queue.
///
/// Its lock is held for a push; the channels have a lock of their own. So publishers wait neither
/// for readers nor for each other's look-ups.
pub struct Local {
    epoch: Epoch,
    wake: Arc<dyn Wake>,
    queue: Lock<Queue>,
}

#[derive(Default)]
struct Queue {
    last: u64,
    waiting: usize,
    messages: Vec<Arc<Message>>,
}

impl Local {
    /// A new, empty log; `wake` is woken when there is something to take.
    pub fn new(wake: Arc<dyn Wake>) -> Self {
        Local { epoch: Epoch::new(), wake, queue: Lock::default() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

impl Engine for Local {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn last(&self) -> u64 {
        self.queue().last
    }

    fn publish(&self, message: Arc<Message>) -> Result<Published, EngineError> {
        let cost = message.cost();
        let mut queue = self.queue();
        queue.last += 1;
        queue.waiting += cost;
        message.number(queue.last);
        queue.messages.push(message);
        let published = Published { seq: queue.last, waiting: queue.waiting };
        let first = queue.messages.len() == 1;
        drop(queue);
        if first {
            self.wake.wake();
        }
        Ok(published)
    }

    fn tail(&self, _from: u64, messages: &mut Vec<Arc<Message>>) {
        let mut queue = self.queue();
        queue.waiting = 0;
        if messages.is_empty() {
            // The usual case: the two buffers change places, whatever their length.
            std::mem::swap(&mut queue.messages, messages);
        } else {
            messages.append(&mut queue.messages);
        }
    }

    fn trim(&self, _seq: u64) {
        // What was handed out is gone already.
    }
}
