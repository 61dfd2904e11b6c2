//! What goes when the log's memory is full, and what goes in time.
//!
//! In this order, until there is room:
//!
//! 1. What all readers have got.
//! 2. What slow readers keep others from freeing: the readers of the channel in which most waits are given up, those
//!    that are behind the farthest first. This is done while messages that wait for readers take more than a quarter of
//!    the memory; and beyond that for readers that lag by [`super::Limits::slow_bytes`], and not for a burst's sake
//!    ([`BURST`]).
//! 3. Histories, the largest first, each down to its last message.
//! 4. What waits for readers all the same, as in 2.
//! 5. The last messages, the oldest first.
//!
//! So a reader that takes a busy channel's messages by drops costs only itself; a busy channel's past goes before a
//! quiet one's last message; and readers that are about to read a burst are not cut off because the memory is full of
//! the past, as it always is once a server has run for long.

use std::time::{Duration, Instant};

use super::log::Log;
use super::policy::Slow;
use super::ring::Channel;
use super::work::{self, PIECE};

/// Messages may take this part of the memory for readers that have not got them yet, when histories need it too.
const PINS: usize = 4;

/// Whoever has not got a message for so long is behind for another reason than that many came at once.
const BURST: Duration = Duration::from_secs(1);

/// Freed beyond what is needed, so that this is not done for each message. Little enough that no hold of the lock frees
/// more than a few thousand messages.
const SLACK: usize = 1 << 20;

/// Channels looked at for what all have read, before anything else goes.
const SETTLED: usize = 1024;

impl Log {
    /// Makes room when the memory is full.
    pub(super) fn evict(&mut self) {
        let most = self.limits.log_bytes;
        if self.memory.bytes() <= most {
            return;
        }
        let target = most - (most / 16).min(SLACK);
        self.settle(SETTLED);
        let mut slow = true;
        while self.memory.bytes() > target {
            let bytes = self.memory.bytes() - target;
            // Once there are none, there are none for this time.
            let found = if slow { self.slow() } else { None };
            slow = found.is_some();
            if !self.evict_some(found, bytes) {
                return;
            }
        }
    }

    /// Takes the next step; in the channel `slow`, if there is one. False if nothing is left.
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

    /// A channel with readers that lag by much, and not for a burst's sake.
    fn slow(&self) -> Option<u32> {
        let Log { limits, memory, .. } = self;
        // A thousand channels at most can pin so much.
        let much = limits.slow_bytes.clamp(limits.log_bytes / 1024, limits.log_bytes / 64);
        let lags = |at: &u32| {
            work::looked(1);
            let channel = self.channels.get(*at).filter(|channel| channel.weight().pinned > much);
            let since = channel.and_then(Channel::pinned_since);
            since.is_some_and(|since| self.last_at.saturating_duration_since(since) >= BURST)
        };
        memory.pinning(much).find(lags)
    }

    /// Gives up readers of a channel, until so many bytes can go that are there for readers only.
    fn give_up(&mut self, at: u32, bytes: usize) {
        self.update_policy(at);
        let before = self.memory.bytes();
        self.memory.change(&mut self.channels, at, Channel::settle);
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
            channel.settle();
        });
        self.forget_if_idle(at);
    }

    /// Frees what attached readers have got by now, in as many channels.
    pub(super) fn settle(&mut self, channels: usize) {
        for _ in 0..channels.min(self.memory.pinned_channels()) {
            let Some(at) = self.memory.next_pinned() else { return };
            work::looked(1);
            self.memory.change(&mut self.channels, at, Channel::settle);
            self.forget_if_idle(at);
        }
    }

    /// Frees what readers have got: as much as one hold of the lock may do.
    pub(super) fn sweep_pins(&mut self) {
        self.settle(PIECE);
    }

    /// Frees what is too old in as many channels, and has them know the rules that apply now.
    pub(super) fn sweep(&mut self, channels: usize, now: Instant) {
        for _ in 0..channels {
            let end = self.channels.end();
            self.hand = if self.hand + 1 < end { self.hand + 1 } else { 0 };
            self.expire(self.hand, now);
            self.forget_if_idle(self.hand);
        }
    }
}
