//! One channel: its messages, its floor, and the places of its readers.
//!
//! Two reasons keep a message in the ring: it is history, or an attached reader has not got it.
//! History is counted exactly, so that what a client may resume from does not depend on who else
//! happens to be slow. Places are looked at now and then, not with every message: what all have
//! read is *surplus*, and may stay a moment longer.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::super::draft::Kind;
use super::super::message::Message;
use super::super::policy::{Policy, Slow};
use super::rank::{Rank, Weight};

/// Surplus is looked at when there is this much of it.
const SURPLUS: usize = 16;

/// How often rules and patterns have changed, on which all channels depend.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Changes {
    pub(super) rules: u64,
    pub(super) patterns: u64,
}

/// A message in a ring.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number within the channel. There are holes where messages were taken out.
    number: u64,
    /// Bytes the channel had before it.
    start: u64,
    pub(crate) message: Arc<Message>,
}

/// The [`Place::next`] of a reader that was given up: it gets nothing more, and pins nothing.
pub(super) const GIVEN_UP: u64 = u64::MAX;

/// A reader's place in a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The number of the first message it has not got.
    pub(crate) next: u64,
    /// The reader's number in the log.
    pub(crate) reader: u32,
}

/// A channel, or all channels that match a pattern as one.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    /// The name is a pattern, and the messages are those of all channels that match.
    pub(crate) is_pattern: bool,
    /// The patterns that match its name: they get its messages, too.
    pub(crate) patterns: Vec<u32>,
    /// The number of the last change of rules and patterns that `policy` and `patterns` know.
    pub(crate) known: Changes,
    pub(crate) places: Vec<Place>,
    /// Readers are to be woken.
    pub(crate) dirty: bool,
    /// Its places in the log's orders.
    pub(crate) rank: Rank,
    entries: VecDeque<Entry>,
    /// Messages that ever were here: the number of the next one.
    count: u64,
    /// Bytes of their payloads.
    bytes: u64,
    /// What the entries take.
    weight: Weight,
    /// History begins here.
    first: u64,
    /// The seq of the newest stored message that is not history any more.
    floor: u64,
    /// How much surplus makes it look at the readers' places.
    patience: usize,
}

impl Channel {
    /// An empty channel; `floor` is what is known of its past.
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
            patience: SURPLUS,
        }
    }

    /// What its messages take. `Memory::change` compares it before and after each change.
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
        if surplus > 0 && (self.places.is_empty() || surplus >= self.patience) {
            self.settle();
        }
    }

    /// Takes what is too old out of the history.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.policy.ttl.is_some() && self.weight.history > 0 {
            self.raise_floor(|channel, message| channel.policy.expired(message.published(), now));
        }
        if self.surplus() > 0 {
            self.settle();
        }
    }

    /// Changes the rules.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let limit = policy.history;
        self.policy = policy;
        self.raise_floor(|channel, _| channel.weight.history > limit);
        if self.surplus() > 0 {
            self.settle();
        }
    }

    /// Takes the oldest message out of the history. It stays as long as a reader needs it.
    pub(crate) fn shorten(&mut self) {
        let limit = self.weight.history.saturating_sub(1);
        self.raise_floor(|channel, _| channel.weight.history > limit);
        self.settle();
    }

    /// Takes messages out of the history, the oldest first, while `goes` says so.
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

    /// Entries that are not history.
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
        self.patience = SURPLUS;
    }

    /// Sets the floor of a channel without messages.
    pub(crate) fn set_floor(&mut self, floor: u64) {
        self.floor = floor;
    }

    /// Frees messages that are not history and that all readers have got.
    pub(crate) fn settle(&mut self) {
        let read = self.places.iter().map(|place| place.next).min().unwrap_or(u64::MAX);
        let first = self.first;
        let goes = |entry: &Entry| entry.number < read && (entry.number < first || !entry.message.stored());
        let mut freed = 0;
        while let Some(entry) = self.entries.front().filter(|entry| goes(entry)) {
            freed += entry.message.cost();
            self.entries.pop_front();
        }
        // What was not stored may also stand between what was.
        if self.weight.history > 0 && self.surplus() > 0 {
            self.entries.retain(|entry| {
                let goes = goes(entry);
                freed += if goes { entry.message.cost() } else { 0 };
                !goes
            });
        }
        self.weight.pinned -= freed;
        // Pinned by a slow reader: looking again pays only after as much has come again. And to
        // look at many places pays only for some messages.
        self.patience = SURPLUS.max(2 * self.surplus()).max(self.places.len() / 16);
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// When the oldest of the messages was published that are kept for readers only.
    pub(crate) fn pinned_since(&self) -> Option<Instant> {
        self.entries.iter().find(|entry| self.is_surplus(entry)).map(|entry| entry.message.published())
    }

    /// Returns a number such that `bytes` of what is kept for readers only can be freed if the readers that need messages
    /// before it are given up. They are the readers that lag most.
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

    /// Gives up the reader at a place that needs messages before the number `cut`. By the channel's rules it either skips
    /// them or must be closed. Returns how many messages it skips; `None` if it must be closed.
    pub(crate) fn give_up(&mut self, place: u32, cut: u64) -> Option<u64> {
        let skipped = self.leap(place);
        let place = self.places.get_mut(place as usize)?;
        let Some(skipped) = skipped else {
            place.next = GIVEN_UP;
            return None;
        };
        // Not even the newest message can stay.
        let rest = if place.next < cut { self.count - place.next } else { 0 };
        place.next += rest;
        Some(skipped + rest)
    }

    /// The seq of the newest stored message that a returning reader would not get.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of the next message: where live begins.
    pub(crate) fn end(&self) -> u64 {
        self.count
    }

    /// The number of the first message after `seq`.
    pub(crate) fn after(&self, seq: u64) -> u64 {
        let index = self.entries.partition_point(|entry| entry.message.seq() <= seq);
        self.entries.get(index).map_or(self.count, |entry| entry.number)
    }

    /// Moves a place of a reader that is too slow forward, as the channel's rules say. Returns how
    /// many messages it skipped, or `None` if the rule is that it must go.
    pub(crate) fn leap(&mut self, place: u32) -> Option<u64> {
        let place = self.places.get_mut(place as usize)?;
        let next = match self.policy.slow {
            Slow::Resume => return None,
            Slow::Drop => self.count,
            // The app's: it stays the newest, whoever comes and goes after it.
            Slow::Latest => {
                let newest = self.entries.iter().rev().find(|entry| entry.message.kind() != Kind::Server);
                newest.map_or(self.count, |entry| entry.number)
            }
        };
        let skipped = next.saturating_sub(place.next);
        place.next += skipped;
        Some(skipped)
    }

    /// The entries from `next` on. A reader that is to go on behind one goes on at `next` of
    /// [`Unread::advance`].
    pub(crate) fn unread(&self, next: u64) -> Unread<'_> {
        Unread { channel: self, index: if next == self.count { self.entries.len() } else { self.index(next) } }
    }

    /// How far `next` is behind.
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

    /// Nobody would miss it: it has neither messages nor readers.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.places.is_empty()
    }

    /// Where the entry `number`, or the first after it, stands.
    fn index(&self, number: u64) -> usize {
        let Some(front) = self.entries.front() else { return 0 };
        // Without holes it stands right there, and with holes before.
        let guess = number.saturating_sub(front.number).min(self.entries.len() as u64) as usize;
        match self.entries.get(guess) {
            Some(entry) if entry.number == number => guess,
            _ => self.entries.partition_point(|entry| entry.number < number),
        }
    }
}

#[cfg(test)]
pub(crate) const SIZE: usize = size_of::<Channel>();

/// A walk over what a reader has not got.
pub(crate) struct Unread<'a> {
    channel: &'a Channel,
    index: usize,
}

impl<'a> Unread<'a> {
    /// The message it stands at, and that message's number.
    pub(crate) fn peek(&self) -> Option<(u64, &'a Arc<Message>)> {
        self.channel.entries.get(self.index).map(|entry| (entry.number, &entry.message))
    }

    /// Goes on.
    pub(crate) fn advance(&mut self) {
        self.index += 1;
    }

    /// The number of the first message not walked over.
    pub(crate) fn next(&self) -> u64 {
        self.peek().map_or(self.channel.count, |(number, _)| number)
    }
}
