//! What a reader gets next, and how far it is behind.

use std::cmp::Reverse;

use super::super::batch::{Batch, BatchLimit, Lag};
use super::super::cursor::Cursor;
use super::super::draft::Kind;
use super::super::message::Flags;
use super::super::policy::Slow;
use super::attached::{Item, Link};
use super::channel::Channel;
use super::store::Log;

impl Log {
    /// Gives `visit` what a reader has not got yet, at most `limit`. Its channels are merged in the log's order.
    /// `visit` returns the bytes that an item takes, or an estimate. `None` for a message: the reader reads this and all that
    /// follow later, and `visit` has it woken then.
    ///
    /// `blocked` says that the reader's socket has not taken everything since the last read. Then channels with
    /// [`Slow::Latest`] skip to their newest message.
    pub(crate) fn read(
        &mut self,
        reader: u32,
        limit: BatchLimit,
        blocked: bool,
        mut visit: impl FnMut(Item<'_>) -> Option<usize>,
    ) -> Batch {
        let mut batch = Batch::default();
        if blocked {
            self.update_policies(reader);
        }
        let Log { readers, channels, heads, .. } = self;
        let Some(own) = readers.get_mut(reader) else { return batch };
        // Even before it is open: this is the only read for which it was woken.
        if own.given_up {
            batch.overrun = true;
            return batch;
        }
        if !own.open {
            return batch;
        }
        heads.clear();
        for (index, link) in own.links.iter().enumerate() {
            let Some(channel) = channels.get_mut(link.channel) else { continue };
            let Some(place) = channel.places.get(link.place as usize) else { continue };
            if place.next == channel.end() {
                continue;
            }
            if blocked && channel.policy.slow == Slow::Latest {
                channel.skip_ahead(link.place);
            }
            heads.extend(head(channel, link.place).map(|seq| Reverse((seq, index as u32))));
        }
        batch.notices = std::mem::take(&mut own.notices);
        if !batch.notices.is_empty() {
            batch.bytes = visit(Item::Notices(&batch.notices)).unwrap_or(0);
        }
        // A pattern may give the same message again. Then it is the next one.
        let mut previous = 0;
        while let Some(Reverse((seq, index))) = heads.pop() {
            if batch.is_full(limit) && seq != previous {
                batch.more = true;
                break;
            }
            let Some(link) = own.links.get(index as usize).copied() else { continue };
            let Some(channel) = channels.get_mut(link.channel) else { continue };
            let Some(place) = channel.places.get(link.place as usize) else { continue };
            // Until a message of another channel comes first.
            let until = heads.peek().map_or(u64::MAX, |Reverse((seq, _))| *seq);
            let mut unread = channel.unread(place.next);
            while let Some((number, message)) = unread.peek() {
                let seq = message.seq();
                let again = seq == previous;
                if seq > until || (batch.is_full(limit) && !again) {
                    break;
                }
                unread.advance();
                let replayed = number < link.live;
                let told = seq <= link.here && message.kind() == Kind::Server;
                if again || told || (replayed && !message.stored()) {
                    continue;
                }
                if message.except() == Some(own.id) {
                    if message.stored() && seq > own.position {
                        batch.bytes += visit(Item::Passed(seq)).unwrap_or(0);
                        own.position = seq;
                    }
                    continue;
                }
                let flags = Flags { id: seq > own.position, frames: link.frames };
                let Some(bytes) = visit(Item::Message(message, flags, &own.wake)) else {
                    batch.waits = true;
                    unread.back();
                    break;
                };
                batch.bytes += bytes;
                batch.messages += 1;
                if !replayed {
                    batch.newest = Some(message.stamp());
                }
                previous = seq;
                own.position = own.position.max(seq);
            }
            let (next, head) = (unread.next(), unread.peek().map(|(_, message)| message.seq()));
            if let Some(place) = channel.places.get_mut(link.place as usize) {
                place.next = next;
            }
            if batch.waits {
                break;
            }
            heads.extend(head.map(|seq| Reverse((seq, index))));
        }
        // Until it is woken for a message that it waits for, further messages change nothing.
        own.woken = batch.more || batch.waits;
        batch
    }

    /// Gives a reader's channels the rules that apply to them now.
    fn update_policies(&mut self, reader: u32) {
        for index in 0.. {
            let link = self.readers.get(reader).and_then(|own| own.links.get(index));
            let Some(channel) = link.map(|link| link.channel) else { return };
            self.update_policy(channel);
        }
    }

    /// The seq up to which a reader has got everything.
    pub(crate) fn cursor(&self, reader: u32) -> Cursor {
        let seq = match self.readers.get(reader) {
            // A reader without subscriptions has missed nothing.
            Some(own) if own.open && !own.given_up && self.lag(reader).messages == 0 => self.last,
            Some(own) => own.position.min(self.last),
            None => self.last,
        };
        Cursor { epoch: self.epoch, seq }
    }

    /// How far a reader is behind, all its channels together.
    pub(crate) fn lag(&self, reader: u32) -> Lag {
        let mut lag = Lag::default();
        for link in self.readers.get(reader).map_or(&[][..], |own| &own.links) {
            let Some(channel) = self.channels.get(link.channel) else { continue };
            let Some(place) = channel.places.get(link.place as usize) else { continue };
            let (messages, bytes) = channel.lag(place.next);
            lag.messages += messages;
            lag.bytes += bytes;
        }
        lag
    }

    /// Whether a reader has not got everything that was published up to `seq`, or has notices left.
    pub(crate) fn is_behind(&self, reader: u32, cursor: Cursor) -> bool {
        // What was published in another epoch is gone.
        let Some(own) = self.readers.get(reader).filter(|own| own.open && cursor.epoch == self.epoch) else {
            return false;
        };
        let next = |link: &Link| head(self.channels.get(link.channel)?, link.place);
        !own.notices.is_empty() || own.links.iter().filter_map(next).any(|next| next <= cursor.seq)
    }

    /// The reader's socket has taken nothing for too long. This does what its channels' rules say. Returns false if the
    /// reader must be closed.
    pub(crate) fn stalled(&mut self, reader: u32) -> bool {
        let most = self.limits.slow_bytes as u64;
        if self.lag(reader).bytes <= most {
            return self.readers.get(reader).is_none_or(|own| !own.given_up);
        }
        self.update_policies(reader);
        let Log { channels, readers, .. } = self;
        let Some(own) = readers.get_mut(reader) else { return true };
        for index in 0..own.links.len() {
            let Some(channel) = channels.get_mut(own.links[index].channel) else { continue };
            // Whether it must be closed is checked below.
            if let (Some(count), Slow::Drop) = (channel.skip_ahead(own.links[index].place), channel.policy.slow) {
                own.skip(&channel.name, count);
            }
        }
        !own.given_up && self.lag(reader).bytes <= most
    }
}

/// The seq of the next message at a place.
fn head(channel: &Channel, place: u32) -> Option<u64> {
    let place = channel.places.get(place as usize)?;
    channel.unread(place.next).peek().map(|(_, message)| message.seq())
}
