//! How far an engine is with the submissions of this process, and how threads wait for the engine.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use thiserror::Error;

use super::cursor::Cursor;
use crate::base::lock::{Condition, Lock};

/// Why an engine does not number a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The bytes are not a message, or not one of a version that the engine knows.
    #[error("the engine cannot read it, or its channel's name is too long")]
    Broken,
    /// The message is longer than the engine accepts.
    #[error("it is longer than the engine accepts")]
    TooLong,
    /// There are too many channels already.
    #[error("there are too many channels")]
    TooManyChannels,
}

/// Why a message that was submitted never gets a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpublished {
    /// The engine has begun anew without the message.
    Lost,
    /// The engine has refused the message. Without a reason, the engine that knew the reason has ended.
    Refused(Option<Refusal>),
}

/// A message that had no number when it was submitted.
#[derive(Debug)]
pub struct Ticket {
    place: u64,
    outcome: OnceLock<Result<Cursor, Unpublished>>,
}

impl Ticket {
    /// The number of the submission in this process, beginning with 1: see [`Progress::submit`].
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The cursor behind the message, once the message has a number. The error says that it never gets one.
    pub fn outcome(&self) -> Option<Result<Cursor, Unpublished>> {
        self.outcome.get().copied()
    }
}

/// The state of this process's submissions, for an engine that numbers messages later. Engines call
/// [`Progress::submit`], [`Progress::settle`] and [`Progress::notify`]; threads wait with [`Progress::wait`] and
/// [`Progress::wait_for_room`]. All methods may be called from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    counts: Lock<Counts>,
    changed: Condition,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    submitted: u64,
    settled: u64,
    /// Commands, of the same.
    commands_submitted: u64,
    commands_settled: u64,
    /// The number of times that the engine may have had room for messages again.
    rooms: u64,
}

/// Ends waits of one thread early.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Progress {
    /// The engine has taken a message that has no number yet. The caller holds the engine's lock, so that the
    /// tickets have the order of the messages.
    pub fn submit(&self) -> Arc<Ticket> {
        let mut counts = self.counts.lock();
        counts.submitted += 1;
        Arc::new(Ticket { place: counts.submitted, outcome: OnceLock::new() })
    }

    /// The message of `ticket` has the number of `outcome`, and the next [`super::Engine::take`] returns the message.
    /// Messages that were submitted before it and have no number by now get none.
    pub fn settle(&self, ticket: &Ticket, outcome: Result<Cursor, Unpublished>) {
        self.settle_all([(ticket, outcome)]);
    }

    /// The same for several messages, in their order. Wakes the threads that wait once.
    pub fn settle_all<'a>(&self, settled: impl IntoIterator<Item = (&'a Ticket, Result<Cursor, Unpublished>)>) {
        let mut last = 0;
        for (ticket, outcome) in settled {
            let _ = ticket.outcome.set(outcome);
            last = last.max(ticket.place);
        }
        let mut counts = self.counts.lock();
        counts.settled = counts.settled.max(last);
        counts.rooms += 1;
        drop(counts);
        self.changed.notify_all();
    }

    /// The engine has taken a command that has no number yet.
    pub fn submit_command(&self) {
        self.counts.lock().commands_submitted += 1;
    }

    /// So many more commands have their numbers or never get one, and the next [`super::Engine::take`] returns those that have.
    pub fn settle_commands(&self, count: u64) {
        let mut counts = self.counts.lock();
        counts.commands_settled += count;
        counts.rooms += 1;
        drop(counts);
        self.changed.notify_all();
    }

    /// The engine has room for messages again.
    pub fn notify(&self) {
        self.counts.lock().rooms += 1;
        self.changed.notify_all();
    }

    /// Ends the waits that have got `cancel`. Does not block for long.
    pub fn cancel(&self, cancel: &Cancel) {
        cancel.0.store(true, Ordering::Release);
        self.notify();
    }

    /// The last submission, if not all submissions are settled.
    pub fn unsettled(&self) -> Option<u64> {
        let counts = self.counts.lock();
        (counts.settled < counts.submitted).then_some(counts.submitted)
    }

    /// The place up to which all submissions have their numbers or are lost.
    pub fn settled(&self) -> u64 {
        self.counts.lock().settled
    }

    /// Whether all submissions up to `place` have their numbers or are lost.
    pub fn is_settled(&self, place: u64) -> bool {
        self.counts.lock().settled >= place
    }

    /// The last command, if not all commands are settled. The first command has the place 1.
    pub fn unsettled_command(&self) -> Option<u64> {
        let counts = self.counts.lock();
        (counts.commands_settled < counts.commands_submitted).then_some(counts.commands_submitted)
    }

    /// Waits until all commands up to `place` have their numbers or never get one. Returns as [`Progress::wait`].
    pub fn wait_for_command(&self, place: u64, deadline: Instant, cancel: &Cancel) -> bool {
        self.wait_until(deadline, cancel, |counts| counts.commands_settled >= place).is_some()
    }

    /// Waits until all submissions up to `place` have their numbers or are lost. Returns false if `deadline` comes first,
    /// or if the wait is cancelled. The caller must hold no lock, nor the GVL.
    pub fn wait(&self, place: u64, deadline: Instant, cancel: &Cancel) -> bool {
        self.wait_until(deadline, cancel, |counts| counts.settled >= place).is_some()
    }

    /// Calls `attempt` at once and each time when the engine may have room again, until `attempt` succeeds. Returns `None`
    /// if `deadline` comes first, or if the wait is cancelled. The caller must hold no lock, nor the GVL.
    pub fn wait_for_room<R>(
        &self,
        deadline: Instant,
        cancel: &Cancel,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        loop {
            // The count is read before the attempt, so that room after the attempt ends the wait. The attempt runs without
            // this lock, because an attempt takes the engine's lock, and engines take this lock while they hold theirs.
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
            // This comes first, because a cancellation counts as room too.
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
