//! The messages of this process that wait for their numbers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::channel::{Cursor, Message, Refusal, Ticket, Unpublished};

/// A message without a number.
#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    ticket: Arc<Ticket>,
    refused: Option<Refusal>,
}

/// A message that waits no longer.
#[derive(Debug)]
pub struct Settled {
    /// Its ticket.
    pub ticket: Arc<Ticket>,
    /// Its cursor, or why it has none.
    pub outcome: Result<Cursor, Unpublished>,
    /// What it has cost in the queue, in bytes.
    pub cost: usize,
}

/// The messages that wait, in the order of their counts. A message's count is [`Ticket::place`].
#[derive(Debug, Default)]
pub(super) struct Own {
    queue: VecDeque<Waiting>,
    /// The count of the last message that waits no longer.
    settled: u64,
    /// How many of those that wait, from the front on, are not to be sent over this connection (any more).
    sent: usize,
}

impl Own {
    /// The count up to which no message waits.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// Adds a message. Its count must be one more than that of the message before.
    pub(super) fn push(&mut self, message: Arc<Message>, ticket: Arc<Ticket>) {
        debug_assert_eq!(ticket.place(), self.settled + 1 + self.queue.len() as u64);
        self.queue.push_back(Waiting { message, ticket, refused: None });
    }

    /// The next message to send, with its count.
    pub(super) fn next(&self) -> Option<(u64, &Arc<Message>)> {
        let waiting = self.queue.get(self.sent)?;
        Some((waiting.ticket.place(), &waiting.message))
    }

    /// The message of [`Own::next`] is on its way.
    pub(super) fn sent(&mut self) {
        self.sent += 1;
    }

    /// The connection has ended. What was sent over it may have been lost.
    pub(super) fn disconnected(&mut self) {
        self.sent = 0;
    }

    /// The hub knows the messages up to `count` already.
    pub(super) fn known(&mut self, count: u64) {
        let known = usize::try_from(count.saturating_sub(self.settled)).unwrap_or(usize::MAX);
        self.sent = self.sent.max(known.min(self.queue.len()));
    }

    /// A message never gets a number.
    pub(super) fn refuse(&mut self, count: u64, refusal: Refusal, settled: &mut Vec<Settled>) {
        let index = count.checked_sub(self.settled + 1).and_then(|index| usize::try_from(index).ok());
        if let Some(waiting) = index.and_then(|index| self.queue.get_mut(index)) {
            waiting.refused = Some(refusal);
        }
        // Those before it must settle first: see `Progress::settle`.
        self.settle_refused(settled);
    }

    fn settle_refused(&mut self, settled: &mut Vec<Settled>) {
        while self.queue.front().is_some_and(|waiting| waiting.refused.is_some()) {
            settled.extend(self.pop(None).map(|(_, settled)| settled));
        }
    }

    /// The message has this cursor. Returns it, unless it does not wait. Earlier messages that still wait were refused, perhaps
    /// by a hub that has ended before it could answer: a hub numbers them in their order.
    pub(super) fn number(&mut self, count: u64, cursor: Cursor, settled: &mut Vec<Settled>) -> Option<Arc<Message>> {
        if count <= self.settled || count > self.settled + self.queue.len() as u64 {
            return None;
        }
        while self.settled + 1 < count {
            settled.extend(self.pop(None).map(|(_, settled)| settled));
        }
        let (message, own) = self.pop(Some(cursor))?;
        settled.push(own);
        self.settle_refused(settled);
        Some(message)
    }

    /// The messages up to `count` have numbers, which are not known. `before` is a cursor that is not behind any of them.
    pub(super) fn settle(&mut self, count: u64, before: Cursor, settled: &mut Vec<Settled>) {
        while self.settled < count {
            let refused = self.queue.front().is_some_and(|waiting| waiting.refused.is_some());
            let Some((_, own)) = self.pop(Some(before).filter(|_| !refused)) else { return };
            settled.push(own);
        }
    }

    /// Takes the first message. Without a cursor, it was refused.
    fn pop(&mut self, cursor: Option<Cursor>) -> Option<(Arc<Message>, Settled)> {
        let Waiting { message, ticket, refused } = self.queue.pop_front()?;
        let outcome = cursor.ok_or(Unpublished::Refused(refused));
        self.settled += 1;
        self.sent = self.sent.saturating_sub(1);
        let cost = message.cost();
        Some((message, Settled { ticket, outcome, cost }))
    }
}
