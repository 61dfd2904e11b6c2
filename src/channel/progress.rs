//! How far an engine is with what this process has submitted, and how threads wait for it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::cursor::Cursor;
use crate::base::lock::{Condition, Lock};

/// A message that had no number when it was submitted.
#[derive(Debug)]
pub struct Ticket {
    place: u64,
    outcome: OnceLock<Option<Cursor>>,
}

impl Ticket {
    /// Which of the process's submissions it is, beginning with 1: see [`Progress::submit`].
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The cursor behind the message, once it has a number. `Some(None)`: it is lost and never gets one.
    pub fn outcome(&self) -> Option<Option<Cursor>> {
        self.outcome.get().copied()
    }
}

/// What an engine that numbers messages later keeps for the threads of its process. Engines call [`Progress::submit`],
/// [`Progress::settle`] and [`Progress::notify`]; threads wait for them with [`Progress::wait`].
#[derive(Debug, Default)]
pub struct Progress {
    counts: Lock<Counts>,
    changed: Condition,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    submitted: u64,
    settled: u64,
    /// How often there may have been room for messages again.
    rooms: u64,
}

/// Ends waits of one thread early.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Progress {
    /// The engine has taken a message that has no number yet. The caller holds the engine's lock, so that the order of
    /// the tickets is that of the messages.
    pub fn submit(&self) -> Arc<Ticket> {
        let mut counts = self.counts.lock();
        counts.submitted += 1;
        Arc::new(Ticket { place: counts.submitted, outcome: OnceLock::new() })
    }

    /// The message of `ticket` has the number of `outcome`, and the next [`super::Engine::take`] gives it out; or it is
    /// lost, for `None`. So are all messages submitted before it that have no number by now.
    pub fn settle(&self, ticket: &Ticket, outcome: Option<Cursor>) {
        let _ = ticket.outcome.set(outcome);
        let mut counts = self.counts.lock();
        counts.settled = counts.settled.max(ticket.place);
        counts.rooms += 1;
        drop(counts);
        self.changed.notify_all();
    }

    /// There is room for messages again.
    pub fn notify(&self) {
        self.counts.lock().rooms += 1;
        self.changed.notify_all();
    }

    /// Ends the waits that were given `cancel`. Does not block for long; any thread.
    pub fn cancel(&self, cancel: &Cancel) {
        cancel.0.store(true, Ordering::Release);
        self.notify();
    }

    /// The last submission, if not all are settled.
    pub fn unsettled(&self) -> Option<u64> {
        let counts = self.counts.lock();
        (counts.settled < counts.submitted).then_some(counts.submitted)
    }

    /// Whether all submissions up to `place` have their numbers or are lost.
    pub fn is_settled(&self, place: u64) -> bool {
        self.counts.lock().settled >= place
    }

    /// Waits until all submissions up to `place` have their numbers or are lost. False if `deadline` came first, or the
    /// wait was cancelled. The caller must hold no lock, nor the GVL.
    pub fn wait(&self, place: u64, deadline: Instant, cancel: &Cancel) -> bool {
        self.wait_until(deadline, cancel, |counts| counts.settled >= place).is_some()
    }

    /// Tries until `attempt` succeeds, each time when the engine may have room again. `None` if `deadline` came first,
    /// or the wait was cancelled. The caller must hold no lock, nor the GVL.
    pub fn wait_for_room<R>(
        &self,
        deadline: Instant,
        cancel: &Cancel,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        loop {
            // Before the attempt: room that comes after it ends the wait. The attempt is made without this lock,
            // because it takes the engine's, and engines take this one within theirs.
            let rooms = self.counts.lock().rooms;
            if let Some(result) = attempt() {
                return Some(result);
            }
            self.wait_until(deadline, cancel, |counts| counts.rooms != rooms)?;
        }
    }

    fn wait_until(&self, deadline: Instant, cancel: &Cancel, done: impl Fn(&Counts) -> bool) -> Option<()> {
        let mut counts = self.counts.lock();
        loop {
            // Cancelled first: a cancellation counts as room.
            if cancel.0.load(Ordering::Acquire) {
                return None;
            }
            if done(&counts) {
                return Some(());
            }
            let now = Instant::now();
            if deadline <= now {
                return None;
            }
            (counts, _) = self.changed.wait_timeout(counts, deadline - now);
        }
    }
}
