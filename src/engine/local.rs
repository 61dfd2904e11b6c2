//! The engine of a single process.

use std::sync::{Arc, MutexGuard};

use crate::base::lock::Lock;
use crate::channel::engine::{Engine, EngineState, Full, Submitted};
use crate::channel::{Command, Cursor, Epoch, Event, Message, Progress, Wake};

/// The engine of a single process: a number and a queue. It is never full.
///
/// Its lock is held only to queue a message. The channels have a lock of their own. So publishers do not wait for
/// readers or for look-ups of other publishers.
pub struct Local {
    epoch: Epoch,
    wake: Arc<dyn Wake>,
    queue: Lock<Queue>,
}

#[derive(Default)]
struct Queue {
    last: u64,
    waiting: usize,
    events: Vec<Event>,
}

impl Local {
    /// An engine with a new, empty log. `wake` is woken when there are messages to take.
    pub fn new(wake: Arc<dyn Wake>) -> Self {
        Local { epoch: Epoch::new(), wake, queue: Lock::default() }
    }

    /// The same, as any engine.
    pub fn shared(wake: Arc<dyn Wake>) -> Arc<dyn Engine> {
        Arc::new(Local::new(wake))
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, event: Event) {
        queue.events.push(event);
        let first = queue.events.len() == 1;
        drop(queue);
        if first {
            self.wake.wake();
        }
    }
}

impl Engine for Local {
    fn position(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.queue.lock().last }
    }

    fn process(&self) -> u32 {
        0
    }

    fn submit(&self, message: Arc<Message>) -> Result<Submitted, Full<Arc<Message>>> {
        let cost = message.cost();
        let mut queue = self.queue.lock();
        queue.last += 1;
        queue.waiting += cost;
        message.number(queue.last);
        let cursor = Cursor { epoch: self.epoch, seq: queue.last };
        let waiting = queue.waiting;
        self.push(queue, Event::Message(message));
        Ok(Submitted::Numbered { cursor, waiting })
    }

    fn take(&self, events: &mut Vec<Event>) {
        let mut queue = self.queue.lock();
        queue.waiting = 0;
        if events.is_empty() {
            // The usual case: the two buffers are swapped, at the same cost for any length.
            std::mem::swap(&mut queue.events, events);
        } else {
            events.append(&mut queue.events);
        }
    }

    fn command(&self, command: Command) -> Result<(), Full<Command>> {
        let mut queue = self.queue.lock();
        queue.last += 1;
        let seq = queue.last;
        self.push(queue, Event::Command { seq, command });
        Ok(())
    }

    fn state(&self) -> EngineState {
        EngineState::Ready
    }

    fn progress(&self) -> Option<&Arc<Progress>> {
        None
    }
}
