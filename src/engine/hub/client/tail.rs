//! The newest entries of the log, which perhaps not all processes have: a new hub may ask this process for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::protocol::Known;
use crate::channel::{Change, ChangeKind, Command, Message};

/// An entry of the log, with its number, and the number and the count of its author.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    pub(super) author: u128,
    pub(super) count: u64,
    pub(super) seq: u64,
    pub(super) content: Content,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Message(Arc<Message>),
    Command(Command),
}

impl Content {
    /// Bytes of memory.
    fn cost(&self) -> usize {
        match self {
            Content::Message(message) => message.cost(),
            Content::Command(command) => cost(command),
        }
    }
}

/// Bytes of memory of a command.
pub(super) fn cost(command: &Command) -> usize {
    let texts = match command {
        Command::Member(Change { channel, member, kind }) => {
            let info = if let ChangeKind::Join { info, .. } = kind { info.len() } else { 0 };
            channel.len() + member.len() + info
        }
        Command::Disconnect { member, .. } => member.len(),
    };
    // Each text has two counters.
    size_of::<Recent>() + 3 * 16 + texts
}

/// The entries after the last stable one.
#[derive(Debug)]
pub(super) struct Tail {
    /// All entries with higher numbers are here.
    after: u64,
    recent: VecDeque<Recent>,
    bytes: usize,
    most: usize,
    /// Counts of authors whose messages are not here: they came with a whole log. Each with its number.
    authors: HashMap<u128, (u64, u64)>,
}

impl Tail {
    /// An empty tail that keeps at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Tail { after: 0, recent: VecDeque::new(), bytes: 0, most, authors: HashMap::new() }
    }

    /// Entries with higher numbers are all here.
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// The first entry with a number above `seq`.
    pub(super) fn next(&self, seq: u64) -> Option<&Recent> {
        self.recent.get(self.recent.partition_point(|recent| recent.seq <= seq))
    }

    /// The counts of authors whose messages are not here.
    pub(super) fn authors(&self) -> Vec<Known> {
        self.authors.iter().map(|(author, (count, seq))| Known { author: *author, count: *count, seq: *seq }).collect()
    }

    /// Changes how many bytes it keeps.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Adds the newest entry.
    pub(super) fn push(&mut self, recent: Recent) {
        self.bytes += recent.content.cost();
        self.recent.push_back(recent);
        while self.bytes > self.most {
            // A worker is stopped, or this process' memory was set lower than the hub's.
            let Some(oldest) = self.pop() else { return };
            self.after = oldest.seq;
            // The author may still ask: without this, the next hub would give the message a second number.
            self.authors.insert(oldest.author, (oldest.count, oldest.seq));
        }
    }

    /// All processes have the entries up to `seq`.
    pub(super) fn stable(&mut self, seq: u64) {
        while self.recent.front().is_some_and(|recent| recent.seq <= seq) {
            self.pop();
        }
        self.after = self.after.max(seq);
        if self.recent.capacity() > 1024 && self.recent.len() < self.recent.capacity() / 8 {
            self.recent.shrink_to(2 * self.recent.len());
        }
        self.authors.retain(|_, (_, known)| *known > seq);
    }

    /// The log is another one from now on, and ends at `last`.
    pub(super) fn replace(&mut self, last: u64, authors: Vec<Known>) {
        self.recent.clear();
        (self.bytes, self.after) = (0, last);
        self.authors = authors.into_iter().map(|known| (known.author, (known.count, known.seq))).collect();
    }

    fn pop(&mut self) -> Option<Recent> {
        let oldest = self.recent.pop_front()?;
        self.bytes -= oldest.content.cost();
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Draft, Limits};
    use std::time::Instant;

    #[test]
    fn authors_stay_known_without_room_for_their_messages_until_these_are_stable() {
        let mut tail = Tail::new(0);
        for (seq, author, count) in [(5, 1, 7), (6, 2, 1), (7, 1, 8)] {
            let message = Message::new(&Draft::text("c", b"x"), &Limits::default(), Instant::now()).unwrap();
            tail.push(Recent { author, count, seq, content: Content::Message(message) });
        }
        let known = |tail: &Tail| {
            let mut known = tail.authors();
            known.sort_by_key(|known| known.author);
            known
        };
        let (one, other) = (Known { author: 1, count: 8, seq: 7 }, Known { author: 2, count: 1, seq: 6 });
        assert_eq!((tail.after(), known(&tail)), (7, vec![one, other]));
        tail.stable(6);
        assert_eq!(known(&tail), [one]);
        tail.stable(7);
        assert_eq!(known(&tail), []);
    }
}
