//! The log: append a message, open and forget channels, wake readers.
//!
//! Nothing looks at all channels, patterns or rules at once. When patterns or rules change, each channel looks up those
//! that match it when it is used next.

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::super::cursor::Epoch;
use super::super::encoding::Encoder;
use super::super::error::Error;
use super::super::forgotten::Forgotten;
use super::super::globs::Globs;
use super::super::limits::Limits;
use super::super::message::Message;
use super::super::pattern::Pattern;
use super::super::policy::{Policies, Policy};
use super::super::slab::Slab;
use super::super::work::{self, PIECE};
use super::attached::{Attached, Head};
use super::channel::{Changes, Channel};
use super::memory::Memory;
use super::names::Names;

/// The messages of a process, by channel.
pub(crate) struct Log {
    pub(crate) epoch: Epoch,
    pub(crate) limits: Limits,
    /// Readers use it without the lock: see [`super::super::Reader::read`].
    pub(crate) encoder: Arc<Encoder>,
    pub(crate) channels: Slab<Channel>,
    pub(crate) readers: Slab<Attached>,
    /// Every read uses it. It is kept, so that reads do not allocate.
    pub(crate) heads: BinaryHeap<Head>,
    /// The newest message's seq.
    pub(crate) last: u64,
    /// When the newest message was published.
    pub(crate) last_at: Instant,
    pub(crate) memory: Memory,
    policies: Policies,
    pub(super) names: Names,
    /// The numbers of patterns, by text.
    patterns: HashMap<Arc<str>, u32>,
    /// The same patterns, as a tree in which names are looked up.
    globs: Globs,
    /// How often rules or patterns have changed: see [`Channel::known`].
    changes: Changes,
    /// The patterns that match a message without a channel. Empty between calls; only its memory is kept.
    matching: Vec<u32>,
    /// The floors of channels that are not open.
    pub(crate) forgotten: Forgotten,
    /// Channels whose readers must be woken.
    dirty: VecDeque<u32>,
    /// The channel whose readers are being given new messages, and the index of the first place that was not looked at.
    pub(super) delivering: Option<(u32, usize)>,
    /// The channel at which the last sweep ended.
    pub(crate) swept: u32,
}

impl Log {
    /// An empty log. `last` is the newest seq of its epoch. Messages up to it are missing.
    pub(crate) fn new(epoch: Epoch, last: u64, limits: Limits, default_event: Option<&str>) -> Self {
        Log {
            epoch,
            limits,
            encoder: Arc::new(Encoder::new(epoch, default_event)),
            channels: Slab::default(),
            readers: Slab::default(),
            heads: BinaryHeap::new(),
            last,
            last_at: Instant::now(),
            memory: Memory::default(),
            policies: Policies::default(),
            names: Names::default(),
            patterns: HashMap::new(),
            globs: Globs::default(),
            changes: Changes::default(),
            matching: Vec::new(),
            forgotten: Forgotten::all(last),
            dirty: VecDeque::new(),
            delivering: None,
            swept: 0,
        }
    }

    /// Changes the bounds, and what encoding depends on.
    pub(crate) fn configure(&mut self, limits: Limits, default_event: Option<&str>) {
        self.limits = limits;
        self.encoder = Arc::new(Encoder::new(self.epoch, default_event));
        self.evict();
    }

    /// From now on the numbers are those of another epoch.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.encoder = Arc::new(self.encoder.with_epoch(epoch));
    }

    /// Changes the rules of channels that match `glob`. Each channel gets them when it is used or swept next.
    pub(crate) fn define(&mut self, glob: &str, policy: Policy) {
        self.policies.define(glob, policy);
        self.changes.rules += 1;
    }

    /// Forgets all rules.
    pub(crate) fn clear_rules(&mut self) {
        self.policies = Policies::default();
        self.changes.rules += 1;
    }

    /// The rules of a channel.
    pub(crate) fn policy(&mut self, name: &str) -> Policy {
        let at = self.names.get(name);
        at.inspect(|at| self.update_policy(*at));
        match at.and_then(|at| self.channels.get(at)) {
            Some(channel) => channel.policy.clone(),
            None => self.policies.of(name),
        }
    }

    /// Gives a channel the rules that apply to it now.
    pub(crate) fn update_policy(&mut self, at: u32) {
        let Log { channels, memory, policies, changes, .. } = self;
        let Some(channel) = channels.get_mut(at).filter(|channel| channel.known.rules != changes.rules) else { return };
        channel.known.rules = changes.rules;
        let mut policy = policies.of(&channel.name);
        if channel.is_pattern {
            policy.history = 0;
        }
        memory.change(channels, at, |channel| channel.set_policy(policy));
    }

    /// Gives a channel the patterns that match it now.
    fn update_patterns(&mut self, at: u32) {
        let Log { channels, globs, changes, .. } = self;
        let Some(channel) = channels.get_mut(at).filter(|channel| channel.known.patterns != changes.patterns) else {
            return;
        };
        channel.known.patterns = changes.patterns;
        channel.patterns.clear();
        globs.find(&channel.name, &mut channel.patterns);
    }

    /// Adds a numbered message to its channel and to the patterns that match.
    pub(crate) fn append(&mut self, message: Arc<Message>) {
        self.last = message.seq();
        self.last_at = message.published();
        match self.names.get(message.channel()).or_else(|| self.open_to_keep(&message)) {
            Some(at) => {
                self.update_policy(at);
                self.update_patterns(at);
                for index in 0.. {
                    let pattern = self.channels.get(at).and_then(|channel| channel.patterns.get(index));
                    let Some(pattern) = pattern.copied() else { break };
                    self.put(pattern, Arc::clone(&message));
                }
                self.put(at, message);
            }
            None => {
                let mut matching = std::mem::take(&mut self.matching);
                self.globs.find(message.channel(), &mut matching);
                matching.drain(..).for_each(|pattern| self.put(pattern, Arc::clone(&message)));
                self.matching = matching;
            }
        }
        self.evict();
    }

    /// The log has no message with this number, which a command has.
    pub(crate) fn pass(&mut self, seq: u64) {
        self.last = self.last.max(seq);
    }

    /// Adds a message that was in the log before this process took it over: readers are not told.
    pub(crate) fn restore(&mut self, message: Arc<Message>) {
        if let Some(at) = self.names.get(message.channel()).or_else(|| self.open_to_keep(&message)) {
            self.update_policy(at);
            self.put(at, message);
        }
    }

    /// Opens the channel of a message if it is not open and its rules keep the message.
    fn open_to_keep(&mut self, message: &Message) -> Option<u32> {
        if !message.stored() {
            return None;
        }
        let policy = self.policies.of(message.channel());
        if policy.history > 0 && self.channels.len() < self.limits.max_channels {
            return Some(self.add_channel(message.channel(), policy));
        }
        self.forgotten.raise(message.channel(), message.seq());
        None
    }

    fn put(&mut self, at: u32, message: Arc<Message>) {
        let Log { channels, memory, dirty, .. } = self;
        work::looked(1);
        let stored = message.stored();
        let has_history = memory.change(channels, at, |channel| {
            if !channel.dirty && !channel.places.is_empty() {
                channel.dirty = true;
                dirty.push_back(at);
            }
            channel.append(message);
            stored && channel.policy.history > 0
        });
        if has_history == Some(true) {
            memory.history_grew(channels, at);
        }
    }

    /// Wakes the readers of channels with new messages, each once until it has read everything. Looks at as many
    /// channels as one hold of the lock may. Returns how many readers it has woken, and whether there are more
    /// channels.
    pub(crate) fn deliver(&mut self) -> (usize, bool) {
        let mut woken = 0;
        for _ in 0..PIECE {
            let Some((at, index)) = self.next_dirty() else { return (woken, false) };
            work::looked(1);
            let places = self.channels.get(at).and_then(|channel| channel.places.get(index..));
            for place in places.unwrap_or_default() {
                woken += usize::from(self.readers.get_mut(place.reader).is_some_and(Attached::wake_once));
            }
        }
        (woken, !self.dirty.is_empty())
    }

    /// The next channel with new messages, and the index of the first place to look at: the one in which a delivery has
    /// stopped, or else the next one that is dirty.
    pub(super) fn next_dirty(&mut self) -> Option<(u32, usize)> {
        if let Some(stopped) = self.delivering.take() {
            return Some(stopped);
        }
        while let Some(at) = self.dirty.pop_front() {
            if let Some(channel) = self.channels.get_mut(at).filter(|channel| channel.dirty) {
                channel.dirty = false;
                return Some((at, 0));
            }
        }
        if self.dirty.capacity() > 1024 {
            self.dirty = VecDeque::new();
        }
        None
    }

    // ---- channels ------------------------------------------------------------------------

    /// Adds names of channels to `names`, from the channel number `from` on, as many as one hold of the lock may look
    /// at. Returns the number at which the next call begins.
    pub(crate) fn names_from(&self, from: u32, names: &mut Vec<Arc<str>>) -> Option<u32> {
        let end = self.channels.end().min(from.saturating_add(PIECE as u32));
        work::looked(end.saturating_sub(from) as usize);
        let channels = (from..end).filter_map(|at| self.channels.get(at));
        names.extend(channels.filter(|channel| !channel.is_pattern).map(|channel| Arc::clone(&channel.name)));
        (end < self.channels.end()).then_some(end)
    }

    /// Whether a message for `name` has an open channel, needs none, or there is room for one more.
    pub(crate) fn accepts(&mut self, name: &str) -> bool {
        let room = self.channels.len() < self.limits.max_channels;
        room || self.names.get(name).is_some() || self.policies.of(name).history == 0
    }

    /// The number of the channel `name`, which is opened if necessary.
    pub(crate) fn find_or_open(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(at) = self.names.get(name) {
            self.update_policy(at);
            return Ok(at);
        }
        self.check_room()?;
        let policy = self.policies.of(name);
        Ok(self.add_channel(&Arc::from(name), policy))
    }

    /// The number of a pattern, which is opened if necessary. A pattern is a channel without history that gets the
    /// messages of all channels that match.
    pub(crate) fn find_or_open_pattern(&mut self, text: &str) -> Result<u32, Error> {
        if let Some(at) = self.patterns.get(text).copied() {
            self.update_policy(at);
            return Ok(at);
        }
        self.check_room()?;
        let policy = Policy { history: 0, ..self.policies.of(text) };
        let name: Arc<str> = text.into();
        // It is unknown which earlier messages match. So only a reader that has seen all messages has missed none.
        let mut channel = Channel::new(Arc::clone(&name), policy, self.last);
        channel.is_pattern = true;
        channel.known = self.changes;
        let at = self.channels.insert(channel);
        self.patterns.insert(name, at);
        self.globs.insert(&Pattern::new(text), at);
        self.changes.patterns += 1;
        Ok(at)
    }

    fn check_room(&self) -> Result<(), Error> {
        let max = self.limits.max_channels;
        if self.channels.len() < max { Ok(()) } else { Err(Error::TooManyChannels(max)) }
    }

    fn add_channel(&mut self, name: &Arc<str>, policy: Policy) -> u32 {
        let floor = self.forgotten.floor(name);
        let mut channel = Channel::new(Arc::clone(name), policy, floor);
        self.globs.find(name, &mut channel.patterns);
        channel.known = self.changes;
        let at = self.channels.insert(channel);
        self.names.insert(Arc::clone(name), at);
        at
    }

    /// Adds the numbers of the patterns that match `name` to `found`.
    pub(crate) fn find_patterns(&mut self, name: &str, found: &mut Vec<u32>) {
        self.globs.find(name, found);
    }

    /// Sets the floor of a channel that has no messages, and opens it, if it is to keep some.
    pub(crate) fn set_floor(&mut self, name: &str, floor: u64) {
        let keeps = self.policies.of(name).history > 0;
        let at = self.names.get(name).or_else(|| if keeps { self.find_or_open(name).ok() } else { None });
        match at.and_then(|at| self.channels.get_mut(at)) {
            Some(channel) => channel.set_floor(floor),
            None => self.forgotten.raise(name, floor),
        }
    }

    /// Frees what a channel no longer needs, after a reader has left it.
    pub(crate) fn release(&mut self, at: u32) {
        if self.channels.get(at).is_some_and(|channel| channel.places.is_empty()) {
            self.memory.change(&mut self.channels, at, Channel::free_surplus);
            self.forget_if_idle(at);
        }
    }

    /// Forgets a channel without messages and readers, so that unused names take no memory.
    pub(crate) fn forget_if_idle(&mut self, at: u32) {
        if !self.channels.get(at).is_some_and(Channel::is_idle) {
            return;
        }
        let Some(channel) = self.channels.remove(at) else { return };
        if channel.is_pattern {
            self.patterns.remove(&channel.name);
            self.globs.remove(&Pattern::new(&channel.name), at);
            self.changes.patterns += 1;
            if self.patterns.capacity() > 64 && self.patterns.len() < self.patterns.capacity() / 8 {
                self.patterns.shrink_to(2 * self.patterns.len());
            }
        } else {
            self.names.remove(&channel.name);
            self.forgotten.raise(&channel.name, channel.floor());
        }
    }

    /// Frees what is too old in a channel.
    pub(crate) fn expire(&mut self, at: u32, now: Instant) {
        work::looked(1);
        self.update_policy(at);
        self.memory.change(&mut self.channels, at, |channel| channel.expire(now));
    }
}

#[cfg(test)]
impl Log {
    pub(crate) fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.get(self.names.get(name)?)
    }

    /// The size of all tables. A process that has forgotten all channels still holds this.
    pub(crate) fn footprint(&self) -> usize {
        self.names.footprint() + self.memory.footprint() + self.globs.footprint() + self.channels.end() as usize
    }
}
