//! The commands of this process that wait for their numbers.

use std::collections::VecDeque;

use crate::channel::Command;

/// The commands that wait, in the order of their counts.
#[derive(Debug, Default)]
pub(super) struct Commands {
    queue: VecDeque<Command>,
    /// The count of the last command that waits no longer.
    settled: u64,
    /// How many of those that wait, from the front on, are not to be sent over this connection (any more).
    sent: usize,
    /// The highest count that the hub knew when it said welcome.
    known: u64,
}

impl Commands {
    /// The count up to which no command waits.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Adds a command.
    pub(super) fn push(&mut self, command: Command) {
        self.queue.push_back(command);
    }

    /// The next command to send, with its count. It counts as sent.
    pub(super) fn next(&mut self) -> Option<(u64, &Command)> {
        let command = self.queue.get(self.sent)?;
        self.sent += 1;
        Some((self.settled + self.sent as u64, command))
    }

    /// The connection has ended. What was sent over it may have been lost.
    pub(super) fn disconnected(&mut self) {
        self.sent = 0;
    }

    /// The hub knows the commands up to `count` already.
    pub(super) fn known(&mut self, count: u64) {
        self.known = count;
        let known = usize::try_from(count.saturating_sub(self.settled)).unwrap_or(usize::MAX);
        self.sent = self.sent.max(known.min(self.queue.len()));
    }

    /// The commands up to `count` wait no longer: the last one has its number, and those before it have theirs or were
    /// refused. Returns how many these are.
    pub(super) fn settle(&mut self, count: u64) -> usize {
        let settled = usize::try_from(count.saturating_sub(self.settled)).unwrap_or(usize::MAX).min(self.queue.len());
        self.queue.drain(..settled);
        self.settled += settled as u64;
        self.sent = self.sent.saturating_sub(settled);
        settled
    }

    /// A log as a whole has come, with all commands up to `count` and up to what the hub knew before.
    pub(super) fn reset(&mut self, count: u64) -> usize {
        self.settle(count.max(self.known))
    }
}
