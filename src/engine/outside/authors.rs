//! Which messages of which processes have numbers, so that none gets two.

use std::collections::{HashMap, VecDeque};

use super::super::hub::protocol::Frame;

/// How many authors are remembered. Those that have a connection are never forgotten; there is a bound for these, too.
const AUTHORS: usize = 4096;

/// How many runs of numbers are remembered of each author, for the case that the connection ends before the author gets
/// the answer.
const RUNS: usize = 256;

/// Messages in a row: the counts and the numbers of the others are one higher each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) count: u64,
    pub(super) seq: u64,
    pub(super) length: u32,
}

impl Run {
    pub(super) fn one(count: u64, seq: u64) -> Self {
        Run { count, seq, length: 1 }
    }

    /// Adds the next message, if it is in a row with these.
    pub(super) fn extend(&mut self, count: u64, seq: u64) -> bool {
        let next = u64::from(self.length);
        let fits = self.count + next == count && self.seq + next == seq && self.length < u32::MAX;
        self.length += u32::from(fits);
        fits
    }

    pub(super) fn frame(self) -> Frame<'static> {
        Frame::Numbered { count: self.count, seq: self.seq, run: self.length }
    }

    fn end(self) -> u64 {
        self.count + u64::from(self.length)
    }
}

/// An author: a process that publishes.
#[derive(Debug, Default)]
pub(super) struct Author {
    /// The highest count that has a number or was refused.
    pub(super) count: u64,
    runs: VecDeque<Run>,
    /// The connection over which it publishes now; 0: none.
    session: u64,
    /// Rises with each connection.
    used: u64,
}

impl Author {
    /// The message with this count has the number `seq`.
    pub(super) fn numbered(&mut self, count: u64, seq: u64) {
        self.count = count;
        if self.runs.back_mut().is_some_and(|run| run.extend(count, seq)) {
            return;
        }
        if self.runs.len() == RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(Run::one(count, seq));
    }

    /// The number of the message with this count; 0: it has none, or it is forgotten.
    pub(super) fn seq(&self, count: u64) -> u64 {
        let run = self.runs.iter().find(|run| (run.count..run.end()).contains(&count));
        run.map_or(0, |run| run.seq + (count - run.count))
    }

    /// The numbers of the messages with counts above `settled`.
    pub(super) fn since(&self, settled: u64) -> impl Iterator<Item = Run> {
        self.runs.iter().copied().filter(move |run| run.end() - 1 > settled)
    }
}

/// All authors. One thread at a time.
#[derive(Debug, Default)]
pub(super) struct Authors {
    all: HashMap<u128, Author>,
    sessions: u64,
}

impl Authors {
    /// A connection of this author has begun. An earlier one of the same author counts no longer. Returns the number of
    /// the connection.
    pub(super) fn connect(&mut self, author: u128) -> u64 {
        self.sessions += 1;
        if self.all.len() >= AUTHORS && !self.all.contains_key(&author) {
            self.forget();
        }
        let session = self.sessions;
        let author = self.all.entry(author).or_default();
        (author.session, author.used) = (session, session);
        session
    }

    /// The author, if this is its newest connection.
    pub(super) fn get(&mut self, author: u128, session: u64) -> Option<&mut Author> {
        self.all.get_mut(&author).filter(|author| author.session == session)
    }

    /// The connection has ended.
    pub(super) fn disconnect(&mut self, author: u128, session: u64) {
        if let Some(author) = self.get(author, session) {
            author.session = 0;
        }
    }

    /// Forgets half of the authors without a connection: those that have connected longest ago.
    fn forget(&mut self) {
        let mut idle: Vec<u64> = self.all.values().filter(|author| author.session == 0).map(|it| it.used).collect();
        idle.sort_unstable();
        if let Some(newest) = idle.get(idle.len() / 2) {
            self.all.retain(|_, author| author.session != 0 || author.used > *newest);
        }
    }
}
