//! Which messages are freed when the log's memory is full, and which ones as time passes.
//!
//! When the memory is full, messages are freed in this order until there is room:
//!
//! 1. Messages that all readers have got.
//! 2. Messages that wait for slow readers. The channel in which most waits comes first. Its readers are given up, those
//!    that lag most first. This happens while messages that wait for readers take more than a quarter of the memory.
//!    Below a quarter it happens only for readers that lag by [`super::super::Limits::slow_bytes`] for longer than a
//!    [`BURST`].
//! 3. Histories, the largest first, each down to its last message.
//! 4. The rest of what waits for readers, as in 2.
//! 5. The last messages, the oldest first.
//!
//! So a reader that reads a busy channel slowly harms no other reader. The history of a busy channel is freed before
//! the last message of a quiet channel. And readers that are about to read a burst are not given up because histories
//! fill the memory, as they always do when a server has run for long.

use std::time::{Duration, Instant};

use super::super::policy::Slow;
use super::super::work::{self, PIECE};
use super::channel::Channel;
use super::store::Log;

/// Readers are given up while messages that wait for readers take more than the memory divided by this number.
const PINS: usize = 4;

/// A reader that has not got a message for longer than this does not lag because of a burst.
const BURST: Duration = Duration::from_secs(1);

/// Bytes freed beyond what is needed, so that this does not happen with each message. They are few enough that one hold
/// of the lock frees no more than a few thousand messages.
const SLACK: usize = 1 << 20;

/// How many channels are searched for messages that all readers have got, before anything else is freed.
const SETTLED: usize = 1024;

impl Log {
    /// Makes room when the memory is full.
    pub(crate) fn evict(&mut self) {
        let most = self.limits.log_bytes;
        if self.memory.bytes() <= most {
            return;
        }
        let target = most - (most / 16).min(SLACK);
        self.free_surplus(SETTLED);
        let mut slow = true;
        while self.memory.bytes() > target {
            let bytes = self.memory.bytes() - target;
            // If no slow reader is found once, they are not looked for again this time.
            let found = if slow { self.slow() } else { None };
            slow = found.is_some();
            if !self.evict_some(found, bytes) {
                return;
            }
        }
    }

    /// Takes the next step; in the channel `slow`, if it is given. Returns false if nothing is left to free.
    fn evict_some(&mut self, slow: Option<u32>, bytes: usize) -> bool {
        work::looked(1);
        let pins = self.memory.pinned() > self.limits.log_bytes / PINS;
        if let Some(at) = slow.or_else(|| self.memory.pins_most().filter(|_| pins)) {
            self.give_up(at, bytes);
        } else if let Some(at) = self.memory.longest() {
            self.memory.change(&mut self.channels, at, Channel::shorten);
        } else if let Some(at) = self.memory.pins_most() {
            self.give_up(at, bytes);
        } else if let Some(at) = self.memory.quietest() {
            self.memory.change(&mut self.channels, at, Channel::shorten);
            self.forget_if_idle(at);
        } else {
            return false;
        }
        true
    }

    /// A channel with readers that lag by much, and not because of a burst.
    fn slow(&self) -> Option<u32> {
        let Log { limits, memory, .. } = self;
        // No more than about a thousand channels can have so much waiting.
        let much = limits.slow_bytes.clamp(limits.log_bytes / 1024, limits.log_bytes / 64);
        let lags = |at: &u32| {
            work::looked(1);
            let channel = self.channels.get(*at).filter(|channel| channel.weight().pinned > much);
            let since = channel.and_then(Channel::pinned_since);
            since.is_some_and(|since| self.last_at.saturating_duration_since(since) >= BURST)
        };
        memory.pinning(much).find(lags)
    }

    /// Gives up readers of a channel, until `bytes` can be freed that are kept for readers only.
    fn give_up(&mut self, at: u32, bytes: usize) {
        self.update_policy(at);
        let before = self.memory.bytes();
        self.memory.change(&mut self.channels, at, Channel::free_surplus);
        if self.memory.bytes() < before {
            return;
        }
        let Log { channels, readers, memory, .. } = self;
        memory.change(channels, at, |channel| {
            let cut = channel.cut(bytes);
            for place in 0..channel.places.len() as u32 {
                let Some(own) = channel.places.get(place as usize).copied().filter(|own| own.next < cut) else {
                    continue;
                };
                let skipped = channel.give_up(place, cut);
                let Some(reader) = readers.get_mut(own.reader) else { continue };
                match skipped {
                    None => reader.give_up(),
                    Some(count) if channel.policy.slow == Slow::Drop => reader.skip(&channel.name, count),
                    Some(_) => {}
                }
            }
            channel.free_surplus();
        });
        self.forget_if_idle(at);
    }

    /// Frees what attached readers have got by now, in so many channels.
    pub(crate) fn free_surplus(&mut self, channels: usize) {
        for _ in 0..channels.min(self.memory.pinned_channels()) {
            let Some(at) = self.memory.next_pinned() else { return };
            work::looked(1);
            self.memory.change(&mut self.channels, at, Channel::free_surplus);
            self.forget_if_idle(at);
        }
    }

    /// Frees what readers have got, in as many channels as one hold of the lock may look at.
    pub(crate) fn sweep_pins(&mut self) {
        self.free_surplus(PIECE);
    }

    /// Frees what is too old in so many channels, and gives them the rules that apply now.
    pub(crate) fn sweep(&mut self, channels: usize, now: Instant) {
        for _ in 0..channels {
            let end = self.channels.end();
            self.swept = if self.swept + 1 < end { self.swept + 1 } else { 0 };
            self.expire(self.swept, now);
            self.forget_if_idle(self.swept);
        }
    }
}
