//! How much memory the channels' messages take, and which channels take most.
//!
//! Each change of a channel updates this at a constant cost. So the largest channel, and the one that has been quiet
//! for longest, are found without a look at all channels.

use super::super::slab::Slab;
use super::channel::Channel;
use super::rank::{NONE, Neighbours, Rank, Spot, Weight};

/// Sizes below this power of two are one class, so that a message more or less rarely moves a channel to another class.
const SMALL: u32 = 12;

/// Classes of sizes: nothing, small, and then one for each power of two.
const CLASSES: usize = (usize::BITS - SMALL) as usize + 2;

fn class(size: usize) -> u8 {
    if size == 0 { 0 } else { (usize::BITS - size.leading_zeros()).saturating_sub(SMALL) as u8 + 1 }
}

/// Channels by the memory that they take. The largest is found at once, within a factor of two.
#[derive(Debug)]
struct Sizes {
    /// Channels by their class. Channels that take nothing are not here.
    classes: [Vec<u32>; CLASSES],
    /// A bit for each class that is not empty.
    used: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { classes: [const { Vec::new() }; CLASSES], used: 0 }
    }
}

impl Sizes {
    /// Moves the channel `at` to the class of `size`; `spot` is where a channel keeps its own place.
    fn put(&mut self, channels: &mut Slab<Channel>, at: u32, size: usize, spot: fn(&mut Rank) -> &mut Spot) {
        let Some(channel) = channels.get_mut(at) else { return };
        let own = spot(&mut channel.rank);
        let (old, new) = (*own, class(size));
        if old.class == new {
            return;
        }
        own.class = new;
        own.index = self.classes[usize::from(new)].len() as u32;
        if new > 0 {
            self.classes[usize::from(new)].push(at);
            self.used |= 1 << new;
        }
        if old.class == 0 {
            return;
        }
        let left = &mut self.classes[usize::from(old.class)];
        left.swap_remove(old.index as usize);
        if let Some(moved) = left.get(old.index as usize).and_then(|moved| channels.get_mut(*moved)) {
            spot(&mut moved.rank).index = old.index;
        }
        if left.is_empty() {
            self.used &= !(1 << old.class);
        }
        if left.capacity() > 64 && left.len() < left.capacity() / 4 {
            left.shrink_to(2 * left.len());
        }
    }

    fn largest(&self) -> Option<u32> {
        let class = self.used.checked_ilog2()?;
        self.classes[class as usize].last().copied()
    }

    /// Those that take `size` or more, and some that take more than half of it, the largest class first.
    fn from(&self, size: usize) -> impl Iterator<Item = u32> {
        self.classes[usize::from(class(size)).max(1)..].iter().rev().flatten().copied()
    }
}

/// The sums and orders of all channels.
#[derive(Debug)]
pub(crate) struct Memory {
    all: Weight,
    pins: Sizes,
    /// Only channels with more than one message, because another rule is for last messages.
    histories: Sizes,
    /// The ends of the list of channels with a history, in the order of their newest messages.
    oldest: u32,
    newest: u32,
    /// Where the next sweep of pins begins: class and index.
    hand: (usize, usize),
}

impl Default for Memory {
    fn default() -> Self {
        let (pins, histories) = (Sizes::default(), Sizes::default());
        Memory { all: Weight::default(), pins, histories, oldest: NONE, newest: NONE, hand: (0, 0) }
    }
}

impl Memory {
    /// Bytes of all messages.
    pub(crate) fn bytes(&self) -> usize {
        self.all.kept + self.all.pinned
    }

    /// Bytes of messages that are kept for readers only.
    pub(crate) fn pinned(&self) -> usize {
        self.all.pinned
    }

    /// Changes a channel's messages, and updates the sums and orders.
    pub(crate) fn change<R>(
        &mut self,
        channels: &mut Slab<Channel>,
        at: u32,
        work: impl FnOnce(&mut Channel) -> R,
    ) -> Option<R> {
        let channel = channels.get_mut(at)?;
        let before = channel.weight();
        let result = work(channel);
        let after = channel.weight();
        if before != after {
            self.all.kept = self.all.kept + after.kept - before.kept;
            self.all.pinned = self.all.pinned + after.pinned - before.pinned;
            self.pins.put(channels, at, after.pinned, |rank| &mut rank.pins);
            let long = if after.history > 1 { after.kept } else { 0 };
            self.histories.put(channels, at, long, |rank| &mut rank.history);
            if after.history == 0 {
                self.unlist(channels, at);
            }
        }
        Some(result)
    }

    /// A channel's history has a new message.
    pub(crate) fn history_grew(&mut self, channels: &mut Slab<Channel>, at: u32) {
        if self.newest == at {
            return;
        }
        self.unlist(channels, at);
        let Some(channel) = channels.get_mut(at) else { return };
        channel.rank.quiet = Neighbours { listed: true, older: self.newest, newer: NONE };
        match channels.get_mut(self.newest) {
            Some(before) => before.rank.quiet.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlist(&mut self, channels: &mut Slab<Channel>, at: u32) {
        let Some(channel) = channels.get_mut(at).filter(|channel| channel.rank.quiet.listed) else { return };
        let Neighbours { older, newer, .. } = std::mem::replace(&mut channel.rank.quiet, Rank::default().quiet);
        match channels.get_mut(older) {
            Some(older) => older.rank.quiet.newer = newer,
            None => self.oldest = newer,
        }
        match channels.get_mut(newer) {
            Some(newer) => newer.rank.quiet.older = older,
            None => self.newest = older,
        }
    }

    /// The channel whose readers pin most, within a factor of two.
    pub(crate) fn pins_most(&self) -> Option<u32> {
        self.pins.largest()
    }

    /// How many channels have messages that are kept for readers only.
    pub(crate) fn pinned_channels(&self) -> usize {
        self.pins.classes.iter().map(Vec::len).sum()
    }

    /// The channels whose readers pin `bytes` or more, and some that pin more than half of that.
    pub(crate) fn pinning(&self, bytes: usize) -> impl Iterator<Item = u32> {
        self.pins.from(bytes)
    }

    /// The channel with the largest history, within a factor of two, of those with more than one message.
    pub(crate) fn longest(&self) -> Option<u32> {
        self.histories.largest()
    }

    /// The channel whose newest message is the oldest.
    pub(crate) fn quietest(&self) -> Option<u32> {
        Some(self.oldest).filter(|at| *at != NONE)
    }

    /// The next of the channels with pins. Each has its turn.
    pub(crate) fn next_pinned(&mut self) -> Option<u32> {
        let (mut class, mut index) = self.hand;
        // Downwards, because leaving a class moves its last one forward.
        for _ in 0..=CLASSES {
            index = index.min(self.pins.classes[class].len());
            if index > 0 {
                self.hand = (class, index - 1);
                return self.pins.classes[class].get(index - 1).copied();
            }
            class = (class + 1) % CLASSES;
            index = usize::MAX;
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn footprint(&self) -> usize {
        let classes = self.pins.classes.iter().chain(&self.histories.classes);
        classes.map(Vec::capacity).sum()
    }
}
