//! All channels under one lock: append, evict, forget.
//!
//! Nothing here waits or calls out, except [`super::Wake`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use super::block::Wire;
use super::cursor::{Cursor, Epoch, Since};
use super::message::Message;
use super::pattern::Pattern;
use super::policy::{Policies, Policy};
use super::ring::Channel;
use super::slab::Slab;
use super::subscription::{Attached, Head};
use super::{Error, Limits};

/// Channels looked at in one sweep, so that a million of them stop nobody for long.
const SWEEP: u32 = 4096;

/// Floors kept for forgotten channels. With one for all of them, a message that nobody heard
/// would be a gap for everybody who returns to some other quiet channel.
const FORGOTTEN: usize = 4096;

/// The messages of a process, by channel.
pub(super) struct Log {
    pub(super) epoch: Epoch,
    pub(super) limits: Limits,
    pub(super) wire: Wire,
    pub(super) channels: Slab<Channel>,
    pub(super) readers: Slab<Attached>,
    /// Used by every read: kept, so that none allocates.
    pub(super) heads: BinaryHeap<Head>,
    /// The newest message's seq.
    pub(super) last: u64,
    policies: Policies,
    names: HashMap<Arc<str>, u32>,
    patterns: HashMap<Arc<str>, u32>,
    /// Bytes of the messages in all rings.
    bytes: usize,
    /// Channels by the seq of their oldest message, or less: what is behind the truth is put
    /// right when it comes up, so that a busy ring need not tell of each message that leaves it.
    ages: BinaryHeap<Reverse<(u64, u32)>>,
    /// Entries of `ages` whose channel is gone.
    stale: usize,
    /// The highest floor of forgotten channels, by their name's hash.
    forgotten: Box<[u64]>,
    /// Channels whose readers are to be woken.
    dirty: Vec<u32>,
    /// Channels that hold messages only for readers that had not got them when it was looked.
    loose: Vec<u32>,
    /// Where the next sweep begins.
    hand: u32,
}

impl Log {
    /// An empty log. `last` is the newest seq of its epoch, whose messages are not here.
    pub(super) fn new(epoch: Epoch, last: u64, limits: Limits, default_event: Option<&str>) -> Self {
        Log {
            epoch,
            limits,
            wire: Wire::new(epoch, default_event),
            channels: Slab::default(),
            readers: Slab::default(),
            heads: BinaryHeap::new(),
            last,
            policies: Policies::default(),
            names: HashMap::new(),
            patterns: HashMap::new(),
            bytes: 0,
            ages: BinaryHeap::new(),
            stale: 0,
            forgotten: vec![last; FORGOTTEN].into(),
            dirty: Vec::new(),
            loose: Vec::new(),
            hand: 0,
        }
    }

    /// Changes the bounds, and what encoding depends on.
    pub(super) fn configure(&mut self, limits: Limits, default_event: Option<&str>) {
        self.limits = limits;
        self.wire = Wire::new(self.epoch, default_event);
        self.evict();
    }

    /// Bytes of all messages held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Names of the channels that have messages or readers.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// Changes the rules of channels that match `glob`.
    pub(super) fn define(&mut self, glob: &str, policy: Policy, now: Instant) {
        self.policies.define(glob, policy);
        for at in 0..self.channels.end() {
            if let Some(channel) = self.channels.get_mut(at) {
                let mut policy = self.policies.of(&channel.name);
                if channel.pattern.is_some() {
                    policy.history = 0;
                }
                self.bytes -= channel.set_policy(policy, now);
                self.forget_if_idle(at);
            }
        }
    }

    /// The rules of a channel.
    pub(super) fn policy(&self, name: &str) -> Policy {
        match self.channel(name) {
            Some(channel) => channel.policy.clone(),
            None => self.policies.of(name),
        }
    }

    /// Adds a numbered message to its channel and to the patterns that match.
    pub(super) fn append(&mut self, message: Arc<Message>) {
        self.last = message.seq();
        match self.names.get(message.channel()).copied().or_else(|| self.open_to_keep(&message)) {
            Some(at) => {
                for index in 0.. {
                    let view = self.channels.get(at).and_then(|channel| channel.views.get(index));
                    let Some(view) = view.copied() else { break };
                    self.put(view, Arc::clone(&message));
                }
                self.put(at, message);
            }
            None => {
                for view in self.matching(message.channel()) {
                    self.put(view, Arc::clone(&message));
                }
            }
        }
        self.evict();
    }

    /// Opens the channel of a message that finds none, if its rules are to keep the message.
    fn open_to_keep(&mut self, message: &Message) -> Option<u32> {
        if !message.stored() {
            return None;
        }
        let policy = self.policies.of(message.channel());
        if policy.history > 0 && self.channels.len() < self.limits.max_channels {
            return Some(self.add_channel(message.channel(), policy));
        }
        let floor = self.forgotten(message.channel());
        *floor = message.seq();
        None
    }

    fn put(&mut self, at: u32, message: Arc<Message>) {
        let Some(channel) = self.channels.get_mut(at) else { return };
        if channel.age == 0 {
            channel.age = message.seq();
            self.ages.push(Reverse((channel.age, at)));
        }
        if !channel.dirty && !channel.places.is_empty() {
            channel.dirty = true;
            self.dirty.push(at);
        }
        self.bytes += message.cost();
        self.bytes -= channel.append(message);
        if !channel.loose && channel.surplus() > 0 {
            channel.loose = true;
            self.loose.push(at);
        }
    }

    /// Wakes the readers of channels with new messages, each once until it has read all. Returns
    /// how many.
    pub(super) fn deliver(&mut self) -> usize {
        let mut woken = 0;
        for at in self.dirty.drain(..) {
            let Some(channel) = self.channels.get_mut(at).filter(|channel| channel.dirty) else { continue };
            channel.dirty = false;
            for place in &channel.places {
                woken += usize::from(self.readers.get_mut(place.reader).is_some_and(Attached::nudge));
            }
        }
        if self.dirty.capacity() > 1024 {
            self.dirty = Vec::new();
        }
        woken
    }

    // ---- channels ------------------------------------------------------------------------

    /// The channel `name`, if it is there.
    pub(super) fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(*self.names.get(name)?)
    }

    /// Whether a message for `name` finds its channel, needs none, or there is room for one more.
    pub(super) fn accepts(&self, name: &str) -> bool {
        let room = self.channels.len() < self.limits.max_channels;
        room || self.names.contains_key(name) || self.policies.of(name).history == 0
    }

    /// The place of the channel `name`, which is opened if need be.
    pub(super) fn find_or_open(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(at) = self.names.get(name) {
            return Ok(*at);
        }
        self.check_room()?;
        let policy = self.policies.of(name);
        Ok(self.add_channel(&Arc::from(name), policy))
    }

    /// The place of a pattern, which is opened if need be: a channel without history that gets
    /// the messages of all that match.
    pub(super) fn find_or_open_pattern(&mut self, text: &str) -> Result<u32, Error> {
        if let Some(at) = self.patterns.get(text) {
            return Ok(*at);
        }
        self.check_room()?;
        let policy = Policy { history: 0, ..self.policies.of(text) };
        let pattern = Pattern::new(text);
        let name: Arc<str> = text.into();
        // What it would have got before is not known: only who has seen all has seen all of it.
        let mut view = Channel::new(Arc::clone(&name), policy, self.last);
        view.pattern = Some(pattern.clone());
        let at = self.channels.insert(view);
        self.patterns.insert(name, at);
        for (name, own) in &self.names {
            if pattern.matches(name)
                && let Some(channel) = self.channels.get_mut(*own)
            {
                channel.views.push(at);
            }
        }
        Ok(at)
    }

    fn check_room(&self) -> Result<(), Error> {
        let max = self.limits.max_channels;
        if self.channels.len() < max { Ok(()) } else { Err(Error::TooManyChannels(max)) }
    }

    fn add_channel(&mut self, name: &Arc<str>, policy: Policy) -> u32 {
        let floor = *self.forgotten(name);
        let mut channel = Channel::new(Arc::clone(name), policy, floor);
        channel.views = self.matching(name);
        let at = self.channels.insert(channel);
        self.names.insert(Arc::clone(name), at);
        at
    }

    fn matching(&self, name: &str) -> Vec<u32> {
        let matches = |at: &u32| {
            let pattern = self.channels.get(*at).and_then(|view| view.pattern.as_ref());
            pattern.is_some_and(|pattern| pattern.matches(name))
        };
        self.patterns.values().copied().filter(matches).collect()
    }

    fn forgotten(&mut self, name: &str) -> &mut u64 {
        let bucket = self.bucket(name);
        &mut self.forgotten[bucket]
    }

    /// Which of the forgotten floors is that of `name`.
    pub(super) fn bucket(&self, name: &str) -> usize {
        self.names.hasher().hash_one(name) as usize % FORGOTTEN
    }

    /// Frees what a channel whose readers have changed need not hold any more.
    pub(super) fn release(&mut self, at: u32) {
        if let Some(channel) = self.channels.get_mut(at)
            && channel.places.is_empty()
        {
            self.bytes -= channel.settle();
            self.forget_if_idle(at);
        }
    }

    /// Forgets a channel without messages and readers: names must not grow memory.
    fn forget_if_idle(&mut self, at: u32) {
        if !self.channels.get(at).is_some_and(Channel::is_idle) {
            return;
        }
        let Some(channel) = self.channels.remove(at) else { return };
        self.stale += usize::from(channel.age != 0);
        if channel.pattern.is_some() {
            self.patterns.remove(&channel.name);
            for own in self.names.values() {
                if let Some(channel) = self.channels.get_mut(*own) {
                    channel.views.retain(|view| *view != at);
                }
            }
        } else {
            self.names.remove(&channel.name);
            let floor = self.forgotten(&channel.name);
            *floor = channel.floor().max(*floor);
        }
        if self.names.capacity() > 64 && self.names.len() < self.names.capacity() / 8 {
            self.names.shrink_to(2 * self.names.len());
        }
        if self.stale > 64 + self.ages.len() / 2 {
            let current = |at: u32, age: u64| self.channels.get(at).is_some_and(|channel| channel.age == age);
            self.ages.retain(|Reverse((age, at))| current(*at, *age));
            self.ages.shrink_to(2 * self.ages.len());
            self.stale = 0;
        }
    }

    // ---- memory --------------------------------------------------------------------------

    /// Makes room when the memory is full: what all have read goes first, then the oldest.
    fn evict(&mut self) {
        let most = self.limits.log_bytes;
        if self.bytes <= most {
            return;
        }
        // Some more than is needed, so that this is not done for each message.
        let most = most - most / 16;
        self.settle();
        while self.bytes > most {
            let Some(Reverse((age, at))) = self.ages.pop() else { return };
            let Some(channel) = self.channels.get_mut(at).filter(|channel| channel.age == age) else {
                self.stale = self.stale.saturating_sub(1);
                continue;
            };
            let next = self.ages.peek().map_or(u64::MAX, |Reverse((age, _))| *age);
            while self.bytes > most && channel.oldest().is_some_and(|seq| seq <= next) {
                self.bytes -= channel.evict();
            }
            channel.age = channel.oldest().unwrap_or(0);
            if channel.age > 0 {
                self.ages.push(Reverse((channel.age, at)));
            } else {
                self.forget_if_idle(at);
            }
        }
    }

    /// Frees what attached readers have got by now.
    fn settle(&mut self) {
        let Log { loose, channels, bytes, .. } = self;
        loose.retain(|at| {
            let Some(channel) = channels.get_mut(*at).filter(|channel| channel.loose) else { return false };
            *bytes -= channel.settle();
            channel.loose = channel.surplus() > 0;
            channel.loose
        });
        if loose.capacity() > 1024 && loose.len() < loose.capacity() / 4 {
            loose.shrink_to(2 * loose.len());
        }
    }

    /// Frees what readers have got, and in some of the channels what is too old; call it every now
    /// and then.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.settle();
        let end = self.channels.end();
        for _ in 0..SWEEP.min(end) {
            self.hand = if self.hand + 1 < end { self.hand + 1 } else { 0 };
            self.expire(self.hand, now);
            self.forget_if_idle(self.hand);
        }
        self.evict();
    }

    /// Frees what is too old in a channel.
    pub(super) fn expire(&mut self, at: u32, now: Instant) {
        if let Some(channel) = self.channels.get_mut(at) {
            self.bytes -= channel.expire(now);
        }
    }

    // ---- history -------------------------------------------------------------------------

    /// Whether a reader that has seen all up to `since` can get all that followed in `channel`;
    /// then, after which seq. `Err` is a gap.
    pub(super) fn resume(&self, channel: &Channel, since: Since) -> Result<Option<u64>, ()> {
        match since {
            Since::Now => Ok(None),
            Since::After(Cursor { epoch, seq })
                if epoch == self.epoch && (channel.floor()..=self.last).contains(&seq) =>
            {
                Ok(Some(seq))
            }
            Since::After(_) | Since::Unreadable => Err(()),
        }
    }

    /// Stored messages of a channel in order: the first `limit` after a cursor, or the newest.
    /// False if some are missing between.
    pub(super) fn history(
        &mut self,
        name: &str,
        since: Since,
        limit: usize,
        now: Instant,
    ) -> (Vec<Arc<Message>>, bool) {
        if let Some(at) = self.names.get(name).copied() {
            self.expire(at, now);
        }
        let Some(channel) = self.channel(name) else {
            // As if it were there, and empty.
            let floor = *self.forgotten(name);
            let empty = Channel::new(name.into(), Policy::default(), floor);
            return (Vec::new(), self.resume(&empty, since).is_ok());
        };
        match self.resume(channel, since) {
            Ok(Some(seq)) => (channel.history(seq).take(limit).cloned().collect(), true),
            start => {
                let mut messages: Vec<_> = channel.history(0).rev().take(limit).cloned().collect();
                messages.reverse();
                (messages, start.is_ok())
            }
        }
    }
}

#[cfg(test)]
impl Log {
    /// Places in all tables: what a process that has forgotten everything still holds.
    pub(super) fn footprint(&self) -> usize {
        self.names.capacity() + self.ages.capacity() + self.loose.capacity() + self.channels.end() as usize
    }
}
