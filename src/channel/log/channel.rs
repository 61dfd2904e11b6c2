//! One channel: its messages, its floor, and the places of its readers.
//!
//! A message stays in the ring as long as it is history or an attached reader has not got it. Messages that are not
//! history are the *surplus*. History is counted exactly, so what a client can resume does not depend on other clients
//! that are slow. The readers' places are not checked with every message, so surplus that all readers have got may stay
//! a little longer.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::super::draft::Kind;
use super::super::message::Message;
use super::super::policy::{Policy, Slow};
use super::rank::{Rank, Weight};

/// Surplus is checked when there are this many messages of it.
const SURPLUS: usize = 16;

/// How often rules and patterns have changed. Each channel compares this with what it has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    pub(super) rules: u64,
    pub(super) patterns: u64,
}

/// A message in a ring.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The message's number within the channel. There are holes where messages were removed.
    number: u64,
    /// Bytes of all earlier messages of the channel.
    start: u64,
    pub(crate) message: Arc<Message>,
}

/// The [`Place::next`] of a reader that was given up. The reader gets nothing more, and pins nothing.
pub(super) const GIVEN_UP: u64 = u64::MAX;

/// A reader's place in a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The number of the first message that the reader has not got.
    pub(crate) next: u64,
    /// The reader's number in the log.
    pub(crate) reader: u32,
}

/// A channel. Or a pattern, which has the messages of all channels that match.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    /// The name is a pattern.
    pub(crate) is_pattern: bool,
    /// The patterns that match the name. They get the channel's messages, too.
    pub(crate) patterns: Vec<u32>,
    /// The changes of rules and patterns that `policy` and `patterns` contain.
    pub(crate) known: Changes,
    pub(crate) places: Vec<Place>,
    /// There are new messages for which readers must be woken.
    pub(crate) dirty: bool,
    /// The channel's places in the orders of [`super::memory::Memory`].
    pub(crate) rank: Rank,
    entries: VecDeque<Entry>,
    /// How many messages there have been. That is the number of the next one.
    count: u64,
    /// Bytes of the payloads of all these messages.
    bytes: u64,
    /// How much memory the entries take.
    weight: Weight,
    /// The number at which history begins.
    first: u64,
    /// The seq of the newest stored message that is no longer history.
    floor: u64,
    /// When there is this much surplus, the readers' places are checked.
    check_at: usize,
}

impl Channel {
    /// An empty channel. Messages up to `floor` are missing.
    pub(crate) fn new(name: Arc<str>, policy: Policy, floor: u64) -> Self {
        Channel {
            name,
            policy,
            is_pattern: false,
            patterns: Vec::new(),
            known: Changes::default(),
            places: Vec::new(),
            dirty: false,
            rank: Rank::default(),
            entries: VecDeque::new(),
            count: 0,
            bytes: 0,
            weight: Weight::default(),
            first: 0,
            floor,
            check_at: SURPLUS,
        }
    }

    /// How much memory its messages take. `Memory::change` compares this before and after each change.
    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// Adds a message.
    pub(crate) fn append(&mut self, message: Arc<Message>) {
        let (seq, stored, size, cost) = (message.seq(), message.stored(), message.payload().len(), message.cost());
        self.entries.push_back(Entry { number: self.count, start: self.bytes, message });
        self.count += 1;
        self.bytes += size as u64;
        if stored && self.policy.history > 0 {
            self.weight.history += 1;
            self.weight.kept += cost;
            let limit = self.policy.history;
            self.raise_floor(|channel, _| channel.weight.history > limit);
        } else {
            self.weight.pinned += cost;
            if stored {
                self.first = self.count;
                self.floor = seq;
            }
        }
        let surplus = self.surplus();
        if surplus > 0 && (self.places.is_empty() || surplus >= self.check_at) {
            self.free_surplus();
        }
    }

    /// Removes messages that are too old from the history.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.policy.ttl.is_some() && self.weight.history > 0 {
            self.raise_floor(|channel, message| channel.policy.expired(message.published(), now));
        }
        if self.surplus() > 0 {
            self.free_surplus();
        }
    }

    /// Changes the rules.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let limit = policy.history;
        self.policy = policy;
        self.raise_floor(|channel, _| channel.weight.history > limit);
        if self.surplus() > 0 {
            self.free_surplus();
        }
    }

    /// Removes the oldest message from the history. It stays in the ring as long as a reader needs it.
    pub(crate) fn shorten(&mut self) {
        let limit = self.weight.history.saturating_sub(1);
        self.raise_floor(|channel, _| channel.weight.history > limit);
        self.free_surplus();
    }

    /// Removes messages from the history, the oldest first, as long as `goes` returns true.
    fn raise_floor(&mut self, goes: impl Fn(&Self, &Message) -> bool) {
        let mut index = self.index(self.first);
        while let Some(entry) = self.entries.get(index) {
            if entry.message.stored() {
                if !goes(self, &entry.message) {
                    break;
                }
                let cost = entry.message.cost();
                self.floor = entry.message.seq();
                self.first = entry.number + 1;
                self.weight.history -= 1;
                self.weight.kept -= cost;
                self.weight.pinned += cost;
            }
            index += 1;
        }
    }

    /// How many entries are not history.
    pub(crate) fn surplus(&self) -> usize {
        self.entries.len() - self.weight.history
    }

    /// Whether an entry is surplus.
    fn is_surplus(&self, entry: &Entry) -> bool {
        entry.number < self.first || !entry.message.stored()
    }

    /// Drops all messages; nothing up to `floor` can be had any more.
    pub(crate) fn clear(&mut self, floor: u64) {
        self.entries = VecDeque::new();
        self.weight = Weight::default();
        self.first = self.count;
        self.floor = floor;
        self.check_at = SURPLUS;
    }

    /// Sets the floor of a channel without messages.
    pub(crate) fn set_floor(&mut self, floor: u64) {
        self.floor = floor;
    }

    /// Frees messages that are not history and that all readers have got.
    pub(crate) fn free_surplus(&mut self) {
        let read = self.places.iter().map(|place| place.next).min().unwrap_or(u64::MAX);
        let first = self.first;
        let goes = |entry: &Entry| entry.number < read && (entry.number < first || !entry.message.stored());
        let mut freed = 0;
        while let Some(entry) = self.entries.front().filter(|entry| goes(entry)) {
            freed += entry.message.cost();
            self.entries.pop_front();
        }
        // Messages that were not stored may be between those that were.
        if self.weight.history > 0 && self.surplus() > 0 {
            self.entries.retain(|entry| {
                let goes = goes(entry);
                freed += if goes { entry.message.cost() } else { 0 };
                !goes
            });
        }
        self.weight.pinned -= freed;
        // If a slow reader pins surplus, another check pays only when there is twice as much. If there are many places,
        // a check pays only for several messages.
        self.check_at = SURPLUS.max(2 * self.surplus()).max(self.places.len() / 16);
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// When the oldest message that is kept only for readers was published.
    pub(crate) fn pinned_since(&self) -> Option<Instant> {
        self.entries.iter().find(|entry| self.is_surplus(entry)).map(|entry| entry.message.published())
    }

    /// Returns the number of a message. If all readers that need earlier messages are given up, at least `bytes` bytes
    /// that are kept only for readers can be freed. These readers lag most.
    pub(crate) fn cut(&self, bytes: usize) -> u64 {
        let mut sum = 0;
        for entry in self.entries.iter().filter(|entry| self.is_surplus(entry)) {
            sum += entry.message.cost();
            if sum >= bytes {
                return entry.number + 1;
            }
        }
        self.count
    }

    /// Gives up the reader at a place that needs messages before the number `cut`. By the channel's rules it either
    /// skips them or must be closed. Returns how many messages it skips; `None` if it must be closed.
    pub(crate) fn give_up(&mut self, place: u32, cut: u64) -> Option<u64> {
        let skipped = self.skip_ahead(place);
        let place = self.places.get_mut(place as usize)?;
        let Some(skipped) = skipped else {
            place.next = GIVEN_UP;
            return None;
        };
        // The newest message must be skipped, too.
        let rest = if place.next < cut { self.count - place.next } else { 0 };
        place.next += rest;
        Some(skipped + rest)
    }

    /// The seq of the newest stored message that a reader that reconnects would not get.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of the next message, at which live messages begin.
    pub(crate) fn end(&self) -> u64 {
        self.count
    }

    /// The number of the first message after `seq`.
    pub(crate) fn after(&self, seq: u64) -> u64 {
        let index = self.entries.partition_point(|entry| entry.message.seq() <= seq);
        self.entries.get(index).map_or(self.count, |entry| entry.number)
    }

    /// Moves the place of a reader that is too slow forward, as the channel's rules say. Returns how many messages the
    /// reader skips. `None` if the rule says that the reader must be closed.
    pub(crate) fn skip_ahead(&mut self, place: u32) -> Option<u64> {
        let place = self.places.get_mut(place as usize)?;
        let next = match self.policy.slow {
            Slow::Resume => return None,
            Slow::Drop => self.count,
            // The newest message of the app. Later announcements of members do not count.
            Slow::Latest => {
                let newest = self.entries.iter().rev().find(|entry| entry.message.kind() != Kind::Server);
                newest.map_or(self.count, |entry| entry.number)
            }
        };
        let skipped = next.saturating_sub(place.next);
        place.next += skipped;
        Some(skipped)
    }

    /// The entries from `next` on.
    pub(crate) fn unread(&self, next: u64) -> Unread<'_> {
        Unread { channel: self, index: if next == self.count { self.entries.len() } else { self.index(next) } }
    }

    /// The messages from `next` on.
    pub(crate) fn messages_from(&self, next: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.entries.range(self.unread(next).index..).map(|entry| &entry.message)
    }

    /// How far a reader at `next` is behind: messages and bytes.
    pub(crate) fn lag(&self, next: u64) -> (u64, u64) {
        if next >= self.count {
            return (0, 0);
        }
        let start = self.entries.get(self.index(next)).map_or(self.bytes, |entry| entry.start);
        (self.count - next, self.bytes - start)
    }

    /// History after `seq`, the oldest first.
    pub(crate) fn history(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        let start = self.index(self.first).max(self.entries.partition_point(|entry| entry.message.seq() <= seq));
        self.entries.range(start..).map(|entry| &entry.message).filter(|message| message.stored())
    }

    /// Whether it has neither messages nor readers, so that it can be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.places.is_empty()
    }

    /// The index of the entry `number`, or of the first one after it.
    fn index(&self, number: u64) -> usize {
        let Some(front) = self.entries.front() else { return 0 };
        // Without holes the entry is exactly there, and with holes before.
        let guess = number.saturating_sub(front.number).min(self.entries.len() as u64) as usize;
        match self.entries.get(guess) {
            Some(entry) if entry.number == number => guess,
            _ => self.entries.partition_point(|entry| entry.number < number),
        }
    }
}

#[cfg(test)]
pub(crate) const SIZE: usize = size_of::<Channel>();

/// Goes through the messages that a reader has not got.
pub(crate) struct Unread<'a> {
    channel: &'a Channel,
    index: usize,
}

impl<'a> Unread<'a> {
    /// The current message and its number.
    pub(crate) fn peek(&self) -> Option<(u64, &'a Arc<Message>)> {
        self.channel.entries.get(self.index).map(|entry| (entry.number, &entry.message))
    }

    /// Goes to the next message.
    pub(crate) fn advance(&mut self) {
        self.index += 1;
    }

    /// Goes back to the message before.
    pub(crate) fn back(&mut self) {
        self.index -= 1;
    }

    /// The number of the current message, or of the channel's next one if there is none.
    pub(crate) fn next(&self) -> u64 {
        self.peek().map_or(self.channel.count, |(number, _)| number)
    }
}
