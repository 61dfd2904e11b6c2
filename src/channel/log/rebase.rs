//! The log starts again: in another epoch, or behind lost messages. Or it catches up with the log of other processes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::cursor::Cursor;
use super::super::event::Reset;
use super::super::forgotten::Forgotten;
use super::super::notice::Notice;
use super::channel::{Channel, GIVEN_UP};
use super::store::Log;

impl Log {
    /// Forgets all messages and takes over another log. Every reader gets a gap notice for each of its channels, with a
    /// cursor of the new log, and loses the messages that it has not read. From now on, a subscription that starts at a
    /// cursor of another epoch, or below a floor, has a gap.
    ///
    /// Looks at all channels and readers in one hold of the lock, because no reader may read a log that is half replaced.
    /// This is rare: the engine has lost messages.
    ///
    /// A reset of the present epoch is less: see [`Log::catch_up`].
    ///
    /// Returns the channels with presence whose readers may have lost announcements that they had not read.
    pub(crate) fn rebase(&mut self, reset: Reset) -> Vec<Arc<str>> {
        let lost: Vec<_> = if reset.epoch == self.epoch && reset.last >= self.last {
            self.catch_up(reset).into_iter().collect()
        } else {
            self.replace(reset);
            (0..self.channels.end()).collect()
        };
        let lost = lost.into_iter().filter_map(|at| self.channels.get(at));
        let announces = |channel: &&Channel| channel.policy.presence && !channel.is_pattern;
        lost.filter(announces).map(|channel| Arc::clone(&channel.name)).collect()
    }

    /// Forgets all messages and takes over another log, also one of the present epoch: see [`Log::rebase`].
    pub(crate) fn replace(&mut self, reset: Reset) {
        let Reset { epoch, last, forgotten, floors, history, .. } = reset;
        self.set_epoch(epoch);
        self.last = last;
        self.forgotten = forgotten;
        let Log { channels, memory, forgotten, .. } = self;
        for at in 0..channels.end() {
            memory.change(channels, at, |channel| {
                // A pattern's channel keeps no messages, so only a cursor at the end has no gap.
                let floor = if channel.is_pattern { last } else { forgotten.floor(&channel.name) };
                channel.clear(floor);
            });
        }
        for (name, floor) in floors {
            self.set_floor(&name, floor);
        }
        history.into_iter().for_each(|message| self.restore(message));
        for reader in 0..self.readers.end() {
            self.move_to_end(reader);
        }
        for at in 0..self.channels.end() {
            self.forget_if_idle(at);
        }
        self.evict();
    }

    /// Messages up to the number `to` never arrived. The log starts again behind them.
    pub(crate) fn lose(&mut self, to: u64) {
        let last = self.last.max(to);
        self.replace(Reset {
            epoch: self.epoch,
            last,
            forgotten: Forgotten::all(last),
            floors: Vec::new(),
            history: Vec::new(),
            members: Vec::new(),
        });
    }

    /// Takes over what other processes have kept since this log's end. In a channel whose floor is not above this log's end
    /// no message is missing, so its readers get the messages as if nothing had happened. The readers of other channels get
    /// a gap notice, and continue behind the gap. Returns these channels.
    fn catch_up(&mut self, reset: Reset) -> HashSet<u32> {
        let Reset { last, mut forgotten, floors, history, .. } = reset;
        let seen = self.last;
        let floors: HashMap<Arc<str>, u64> = floors.into_iter().collect();
        let (mut lost, mut matching) = (HashSet::new(), Vec::new());
        for (name, _) in floors.iter().filter(|(_, floor)| **floor > seen) {
            self.find_patterns(name, &mut matching);
            lost.extend(matching.drain(..));
        }
        for at in 0..self.channels.end() {
            let Some(channel) = self.channels.get(at) else { continue };
            // It is unknown which channels match a pattern and are not open, so any of their floors concerns every pattern.
            let own = match floors.get(&channel.name) {
                _ if channel.is_pattern => forgotten.highest(),
                Some(floor) => *floor,
                None => forgotten.floor(&channel.name),
            };
            if own > seen || lost.contains(&at) {
                lost.insert(at);
                let own = if channel.is_pattern { last } else { own };
                self.memory.change(&mut self.channels, at, |channel| channel.clear(own));
            }
        }
        forgotten.raise_to(&self.forgotten);
        self.forgotten = forgotten;
        for (name, floor) in &floors {
            if *floor > seen {
                // An open channel has its floor by now. It is not too high for a channel that is opened later.
                self.forgotten.raise(name, *floor);
            }
        }
        for reader in 0..self.readers.end() {
            self.move_behind_gaps(reader, &lost);
        }
        history.into_iter().filter(|message| message.seq() > seen).for_each(|message| self.append(message));
        self.last = self.last.max(last);
        for at in &lost {
            self.forget_if_idle(*at);
        }
        self.evict();
        lost
    }

    /// Moves a reader's places in the channels `lost` to their ends, and records the gaps. Its cursor stays: it has other
    /// channels, and may not have read all of their messages.
    fn move_behind_gaps(&mut self, reader: u32, lost: &HashSet<u32>) {
        let Log { readers, channels, .. } = self;
        let Some(own) = readers.get_mut(reader) else { return };
        let mut names = Vec::new();
        for link in own.links.iter_mut().filter(|link| lost.contains(&link.channel)) {
            let Some(channel) = channels.get_mut(link.channel) else { continue };
            link.live = channel.end();
            names.push(Arc::clone(&channel.name));
            if let Some(place) = channel.places.get_mut(link.place as usize)
                && place.next != GIVEN_UP
            {
                place.next = link.live;
            }
        }
        if names.is_empty() {
            return;
        }
        let missing = |gap: &mut Vec<Arc<str>>| {
            let new: Vec<_> = names.iter().filter(|name| !gap.contains(name)).cloned().collect();
            gap.extend(new);
        };
        if !own.open {
            own.recovered = Some(false);
            missing(&mut own.gap);
        } else if let Some(Notice::Open { recovered, gap, .. }) = own.notices.first_mut() {
            *recovered = Some(false);
            missing(gap);
        } else {
            names.into_iter().for_each(|channel| own.notify(Notice::Gap { channel, cursor: None }));
        }
    }

    /// Moves a reader's cursor to the end of the log, and records the gap.
    fn move_to_end(&mut self, reader: u32) {
        let Log { readers, channels, last, epoch, .. } = self;
        let Some(own) = readers.get_mut(reader) else { return };
        let cursor = Cursor { epoch: *epoch, seq: *last };
        let mut names = Vec::with_capacity(own.links.len());
        for link in &mut own.links {
            let Some(channel) = channels.get_mut(link.channel) else { continue };
            link.live = channel.end();
            names.push(Arc::clone(&channel.name));
            if let Some(place) = channel.places.get_mut(link.place as usize)
                && place.next != GIVEN_UP
            {
                place.next = link.live;
            }
        }
        (own.placed, own.position) = (false, *last);
        if !own.open {
            own.recovered = own.recovered.or((!names.is_empty()).then_some(false)).map(|_| false);
            own.gap = names;
        } else if let Some(Notice::Open { cursor: start, recovered, gap, .. }) = own.notices.first_mut() {
            // The reader has not got the notice with its start yet, so the gap becomes a part of that notice.
            (*start, *recovered, *gap) = (cursor, Some(false), names);
        } else {
            names.into_iter().for_each(|channel| own.notify(Notice::Gap { channel, cursor: Some(cursor) }));
        }
    }
}
