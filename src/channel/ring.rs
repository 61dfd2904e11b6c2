//! One channel: its messages, its floor, and the places of its readers.
//!
//! Two reasons keep a message in the ring: it is history, or an attached reader has not got it.
//! History is counted exactly, so that what a client may resume from does not depend on who else
//! happens to be slow. Places are looked at now and then, not with every message: what all have
//! read is *surplus*, and may stay a moment longer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::message::{Kind, Message};
use super::pattern::Pattern;
use super::policy::{Policy, Slow};

/// Surplus is looked at when there is this much of it.
const SURPLUS: usize = 16;

/// A message in a ring.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number within the channel. There are holes where messages were taken out.
    number: u64,
    /// Bytes the channel had before it.
    start: u64,
    pub(super) message: Arc<Message>,
}

/// A reader's place in a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The number of the first message it has not got.
    pub(super) next: u64,
    /// The reader's number in the log.
    pub(super) reader: u32,
}

/// A channel, or all channels that match a pattern as one.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    /// Set if the messages are those of all channels that match.
    pub(super) pattern: Option<Pattern>,
    /// The patterns' rings that get this channel's messages, too.
    pub(super) views: Vec<u32>,
    pub(super) places: Vec<Place>,
    /// Readers are to be woken.
    pub(super) dirty: bool,
    /// It has surplus, and the log knows.
    pub(super) loose: bool,
    /// Its key in the log's queue by age: at most the seq of its oldest message; 0 is not queued.
    pub(super) age: u64,
    entries: VecDeque<Entry>,
    /// Messages that ever were here: the number of the next one.
    count: u64,
    /// Their bytes.
    bytes: u64,
    /// How many entries are history.
    history: usize,
    /// History begins here.
    first: u64,
    /// The seq of the newest stored message that is not history any more.
    floor: u64,
    /// The log's memory was full: below this number, messages are gone that readers may need.
    lost: u64,
    /// How much surplus makes it look at the readers' places.
    patience: usize,
}

impl Channel {
    /// An empty channel; `floor` is what is known of its past.
    pub(super) fn new(name: Arc<str>, policy: Policy, floor: u64) -> Self {
        Channel {
            name,
            policy,
            pattern: None,
            views: Vec::new(),
            places: Vec::new(),
            dirty: false,
            loose: false,
            age: 0,
            entries: VecDeque::new(),
            count: 0,
            bytes: 0,
            history: 0,
            first: 0,
            floor,
            lost: 0,
            patience: SURPLUS,
        }
    }

    /// Adds a message. Returns the bytes freed by that.
    pub(super) fn append(&mut self, message: Arc<Message>) -> usize {
        let (seq, stored, size) = (message.seq(), message.stored(), message.payload().len());
        self.entries.push_back(Entry { number: self.count, start: self.bytes, message });
        self.count += 1;
        self.bytes += size as u64;
        if stored && self.policy.history == 0 {
            self.first = self.count;
            self.floor = seq;
        } else if stored {
            self.history += 1;
            let limit = self.policy.history;
            self.raise_floor(|channel, _| channel.history > limit);
        }
        let surplus = self.surplus();
        if surplus > 0 && (self.places.is_empty() || surplus >= self.patience) { self.settle() } else { 0 }
    }

    /// Takes what is too old out of the history. Returns the bytes freed.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        if self.policy.ttl.is_some() && self.history > 0 {
            self.raise_floor(|channel, message| channel.policy.expired(message.published(), now));
        }
        if self.surplus() > 0 { self.settle() } else { 0 }
    }

    /// Changes the rules. Returns the bytes freed.
    pub(super) fn set_policy(&mut self, policy: Policy, now: Instant) -> usize {
        let limit = policy.history;
        self.policy = policy;
        self.raise_floor(|channel, _| channel.history > limit);
        self.expire(now)
    }

    /// Takes messages out of the history, the oldest first, while `goes` says so.
    fn raise_floor(&mut self, goes: impl Fn(&Self, &Message) -> bool) {
        let mut index = self.index(self.first);
        while let Some(entry) = self.entries.get(index) {
            if entry.message.stored() {
                if !goes(self, &entry.message) {
                    break;
                }
                self.floor = entry.message.seq();
                self.history -= 1;
                self.first = entry.number + 1;
            }
            index += 1;
        }
    }

    /// Entries that are not history.
    pub(super) fn surplus(&self) -> usize {
        self.entries.len() - self.history
    }

    /// Lets go of what is not history and has been read by all. Returns the bytes freed.
    pub(super) fn settle(&mut self) -> usize {
        let read = self.places.iter().map(|place| place.next).min().unwrap_or(u64::MAX);
        let first = self.first;
        let goes = |entry: &Entry| entry.number < read && (entry.number < first || !entry.message.stored());
        let mut freed = 0;
        while let Some(entry) = self.entries.front().filter(|entry| goes(entry)) {
            freed += entry.message.cost();
            self.entries.pop_front();
        }
        // What was not stored may also stand between what was.
        if self.history > 0 && self.surplus() > 0 {
            self.entries.retain(|entry| {
                let goes = goes(entry);
                freed += if goes { entry.message.cost() } else { 0 };
                !goes
            });
        }
        // Pinned by a slow reader: looking again pays only after as much has come again. And to
        // look at many places pays only for some messages.
        self.patience = SURPLUS.max(2 * self.surplus()).max(self.places.len() / 16);
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
        freed
    }

    /// Takes out the oldest message, whoever needs it. Returns the bytes freed.
    pub(super) fn evict(&mut self) -> usize {
        let Some(entry) = self.entries.pop_front() else { return 0 };
        self.lost = entry.number + 1;
        if entry.message.stored() && entry.number >= self.first {
            self.history -= 1;
            self.first = entry.number + 1;
            self.floor = entry.message.seq();
        }
        entry.message.cost()
    }

    /// The seq of the oldest message.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.message.seq())
    }

    /// The seq of the newest stored message that a returning reader would not get.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of the next message: where live begins.
    pub(super) fn end(&self) -> u64 {
        self.count
    }

    /// The number of the first message after `seq`.
    pub(super) fn after(&self, seq: u64) -> u64 {
        let index = self.entries.partition_point(|entry| entry.message.seq() <= seq);
        self.entries.get(index).map_or(self.count, |entry| entry.number)
    }

    /// Whether messages from `next` on are gone that were pinned.
    pub(super) fn overran(&self, next: u64) -> bool {
        next < self.lost
    }

    /// Moves a place of a reader that is too slow forward, as the channel's rules say. Returns how
    /// many messages it skipped, or `None` if the rule is that it must go.
    pub(super) fn leap(&mut self, place: u32) -> Option<u64> {
        let place = self.places.get_mut(place as usize)?;
        let next = match self.policy.slow {
            Slow::Resume => return None,
            Slow::Drop => self.count,
            // The app's: it stays the newest, whoever comes and goes after it.
            Slow::Latest => {
                let newest = self.entries.iter().rev().find(|entry| entry.message.kind() != Kind::Server);
                newest.map_or(self.lost, |entry| entry.number)
            }
        };
        let skipped = next.saturating_sub(place.next);
        place.next += skipped;
        Some(skipped)
    }

    /// The entries from `next` on. A reader that is to go on behind one goes on at `next` of
    /// [`Unread::advance`].
    pub(super) fn unread(&self, next: u64) -> Unread<'_> {
        Unread { channel: self, index: if next == self.count { self.entries.len() } else { self.index(next) } }
    }

    /// How far `next` is behind.
    pub(super) fn lag(&self, next: u64) -> (u64, u64) {
        if next >= self.count {
            return (0, 0);
        }
        let start = self.entries.get(self.index(next)).map_or(self.bytes, |entry| entry.start);
        (self.count - next, self.bytes - start)
    }

    /// History after `seq`, the oldest first.
    pub(super) fn history(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        let entries = self.entries.range(self.index(self.first)..).map(|entry| &entry.message);
        entries.filter(move |message| message.stored() && message.seq() > seq)
    }

    /// Nobody would miss it: it has neither messages nor readers.
    pub(super) fn is_idle(&self) -> bool {
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
pub(super) const SIZE: usize = size_of::<Channel>();

/// A walk over what a reader has not got.
pub(super) struct Unread<'a> {
    channel: &'a Channel,
    index: usize,
}

impl<'a> Unread<'a> {
    /// The message it stands at, and that message's number.
    pub(super) fn peek(&self) -> Option<(u64, &'a Arc<Message>)> {
        self.channel.entries.get(self.index).map(|entry| (entry.number, &entry.message))
    }

    /// Goes on.
    pub(super) fn advance(&mut self) {
        self.index += 1;
    }

    /// The number of the first message not walked over.
    pub(super) fn next(&self) -> u64 {
        self.peek().map_or(self.channel.count, |(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::message::Draft;
    use super::*;
    use std::time::Duration;

    struct Fixture {
        channel: Channel,
        seq: u64,
        held: usize,
        now: Instant,
    }

    impl Fixture {
        fn new(history: usize) -> Self {
            let policy = Policy { history, ttl: Some(Duration::from_secs(10)), ..Policy::default() };
            Fixture { channel: Channel::new("c".into(), policy, 0), seq: 0, held: 0, now: Instant::now() }
        }

        fn append(&mut self, store: bool) {
            self.seq += 1;
            let draft = Draft { store, ..Draft::text("c", b"12345") };
            let message = Message::new(&draft, &Limits::default(), self.now).unwrap();
            message.number(self.seq);
            self.held += message.cost();
            let freed = self.channel.append(message);
            self.freed(freed);
        }

        fn freed(&mut self, bytes: usize) {
            self.held -= bytes;
            let held: usize = self.channel.entries.iter().map(|entry| entry.message.cost()).sum();
            assert_eq!(self.held, held);
        }

        fn seqs(&self) -> Vec<u64> {
            self.channel.entries.iter().map(|entry| entry.message.seq()).collect()
        }
    }

    #[test]
    fn without_readers_there_is_only_history() {
        let mut fixture = Fixture::new(3);
        (0..5).for_each(|_| fixture.append(true));
        fixture.append(false);
        assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![3, 4, 5], 2));
        let mut none = Fixture::new(0);
        none.append(true);
        none.append(false);
        assert_eq!((none.seqs(), none.channel.floor(), none.channel.end()), (vec![], 1, 2));
    }

    #[test]
    fn readers_pin_but_do_not_lower_the_floor() {
        let mut fixture = Fixture::new(2);
        fixture.channel.places.push(Place { next: 1, reader: 0 });
        (0..40).for_each(|_| fixture.append(true));
        assert_eq!(fixture.seqs(), (2..=40).collect::<Vec<_>>());
        assert_eq!(fixture.channel.floor(), 38);
        assert_eq!(fixture.channel.lag(1), (39, 195));
        assert_eq!(fixture.channel.history(0).map(|message| message.seq()).collect::<Vec<_>>(), [39, 40]);
        fixture.channel.places[0].next = 40;
        let freed = fixture.channel.settle();
        fixture.freed(freed);
        assert_eq!(fixture.seqs(), [39, 40]);
        assert_eq!(fixture.channel.lag(40), (0, 0));
    }

    #[test]
    fn what_is_not_stored_goes_from_between() {
        let mut fixture = Fixture::new(2);
        fixture.channel.places.push(Place { next: 0, reader: 0 });
        for store in [true, false, false, true, false] {
            fixture.append(store);
        }
        fixture.channel.places[0].next = 2;
        let freed = fixture.channel.settle();
        fixture.freed(freed);
        assert_eq!(fixture.seqs(), [1, 3, 4, 5]);
        assert_eq!(fixture.channel.unread(2).next(), 2);
        assert_eq!(fixture.channel.after(1), 2);
        fixture.channel.places[0].next = 5;
        let freed = fixture.channel.settle();
        fixture.freed(freed);
        assert_eq!(fixture.seqs(), [1, 4]);
        // Number 2 is in a hole: what comes next is number 3.
        assert_eq!(fixture.channel.unread(2).next(), 3);
        fixture.append(true);
        assert_eq!(fixture.channel.floor(), 1);
    }

    #[test]
    fn a_tide_of_what_is_not_stored_is_bounded() {
        let mut fixture = Fixture::new(2);
        fixture.channel.places.push(Place { next: 0, reader: 0 });
        fixture.append(true);
        for _ in 0..1000 {
            fixture.append(false);
            fixture.channel.places[0].next = fixture.channel.end();
        }
        assert!(fixture.seqs().len() <= SURPLUS + 1);
        assert_eq!((fixture.channel.oldest(), fixture.channel.floor()), (Some(1), 0));
    }

    #[test]
    fn time_and_eviction_raise_the_floor() {
        let mut fixture = Fixture::new(5);
        fixture.append(true);
        fixture.now += Duration::from_secs(9);
        (0..3).for_each(|_| fixture.append(true));
        fixture.now += Duration::from_secs(1);
        let freed = fixture.channel.expire(fixture.now);
        fixture.freed(freed);
        assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![2, 3, 4], 1));
        let freed = fixture.channel.evict();
        fixture.freed(freed);
        assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![3, 4], 2));
        assert!(fixture.channel.overran(1) && !fixture.channel.overran(2));
        let freed = fixture.channel.set_policy(Policy { history: 1, ..Policy::default() }, fixture.now);
        fixture.freed(freed);
        assert_eq!((fixture.seqs(), fixture.channel.floor()), (vec![4], 3));
    }
}
