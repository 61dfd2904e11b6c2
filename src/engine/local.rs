//! The order of one process.

use std::sync::{Arc, MutexGuard};

use crate::base::lock::Lock;
use crate::channel::{Engine, EngineError, Epoch, Message, Published, Wake};

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

    /// The same, for channels that do not care which engine they have.
    pub fn shared(wake: Arc<dyn Wake>) -> Arc<dyn Engine> {
        Arc::new(Local::new(wake))
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
