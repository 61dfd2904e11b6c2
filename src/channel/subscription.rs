//! The readers' side of the log: where each starts, and what it gets next.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use super::block::Wire;
use super::cursor::{Cursor, Since};
use super::log::Log;
use super::message::{Kind, Message};
use super::notice::Notice;
use super::policy::Slow;
use super::reader::{Batch, Lag, Target};
use super::ring::{Channel, Place};
use super::{Error, Wake};

/// A reader's next message in one channel: its seq, and which of the reader's subscriptions.
pub(super) type Head = Reverse<(u64, u32)>;

/// A subscription of a reader.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The channel's number in the log.
    channel: u32,
    /// The number of the reader's place there.
    place: u32,
    /// What the channel had before is a replay: only what was stored.
    live: u64,
    /// See [`super::Subscription::frames`].
    frames: Option<Kind>,
}

/// A reader, as the log sees it.
pub(super) struct Attached {
    id: u64,
    wake: Arc<dyn Wake>,
    /// The cursor it came with.
    since: Since,
    /// That cursor is one of this log, so it is where the reader stands.
    placed: bool,
    links: Vec<Link>,
    /// Everything is subscribed that belongs to the first replay: it may read.
    open: bool,
    /// It knows that there is something to read.
    woken: bool,
    /// Ids up to here are behind it: a message that comes later with a lower seq has none, or the
    /// client's cursor would run backwards.
    position: u64,
    notices: Vec<Notice>,
    /// Messages that it should have got are gone: it must be closed.
    given_up: bool,
    /// Until it is open: how its return goes.
    recovered: Option<bool>,
    gap: Vec<Arc<str>>,
}

impl Attached {
    /// Wakes it, if it does not know yet.
    pub(super) fn nudge(&mut self) -> bool {
        let asleep = self.open && !self.woken;
        if asleep {
            self.woken = true;
            self.wake.wake();
        }
        asleep
    }

    /// The log's memory is full, and messages that the reader has not got are freed: it must be closed.
    pub(super) fn give_up(&mut self) {
        if !self.given_up {
            self.given_up = true;
            self.woken = true;
            self.wake.give_up();
        }
    }

    /// The reader skips messages of a channel, and is told how many.
    pub(super) fn skip(&mut self, channel: &Arc<str>, count: u64) {
        if count > 0 {
            self.notify(Notice::Drop { channel: Arc::clone(channel), count });
        }
    }

    fn notify(&mut self, notice: Notice) {
        notice.join(&mut self.notices);
        self.nudge();
    }
}

#[cfg(test)]
pub(super) const SIZE: usize = size_of::<Attached>();

/// What a reader gets.
pub(super) enum Item<'a> {
    /// A message; does it move the client's cursor? Which frames does a raw WebSocket get?
    Message(&'a Arc<Message>, bool, Option<Kind>),
    /// A message is for all but this reader, whose cursor it moves: or it would come when the client does again, as
    /// another reader.
    Passed(u64),
    /// Something from the server itself.
    Notice(&'a Notice),
}

/// How much a reader takes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Log {
    /// Attaches a reader that subscribes to nothing yet.
    pub(super) fn attach(&mut self, id: u64, wake: Arc<dyn Wake>, since: Since) -> u32 {
        let ours = |cursor: &Cursor| cursor.epoch == self.epoch && cursor.seq <= self.last;
        let (placed, position) = match since {
            Since::After(cursor) if ours(&cursor) => (true, cursor.seq),
            // Where the first of its subscriptions starts.
            _ => (false, u64::MAX),
        };
        self.readers.insert(Attached {
            id,
            wake,
            since,
            placed,
            links: Vec::new(),
            open: false,
            woken: false,
            position,
            notices: Vec::new(),
            given_up: false,
            recovered: None,
            gap: Vec::new(),
        })
    }

    /// Ends all subscriptions of a reader.
    pub(super) fn detach(&mut self, reader: u32) {
        let links = self.readers.get_mut(reader).map(|own| std::mem::take(&mut own.links));
        for link in links.unwrap_or_default() {
            self.leave(link);
        }
        self.readers.remove(reader);
    }

    /// Subscribes a reader from `since` on, or from the cursor that it came with. Returns whether
    /// it will get all that it missed; `None` if it asks for no more than what is new, or has the
    /// subscription already.
    pub(super) fn subscribe(
        &mut self,
        reader: u32,
        target: Target<'_>,
        since: Option<Since>,
        frames: Option<Kind>,
        now: Instant,
    ) -> Result<Option<bool>, Error> {
        self.limits.check_name(target.name())?;
        let max = self.limits.max_subscriptions;
        let Some(own) = self.readers.get(reader) else { return Ok(None) };
        let since = since.unwrap_or(own.since);
        let full = own.links.len() >= max;
        if self.link(reader, target).is_some() {
            return Ok(None);
        }
        if full {
            return Err(Error::TooManySubscriptions(max));
        }
        let at = match target {
            Target::Channel(name) => self.find_or_open(name)?,
            Target::Pattern(text) => self.find_or_open_pattern(text)?,
        };
        self.expire(at, now);
        let Some(channel) = self.channels.get(at) else { return Ok(None) };
        let (name, live) = (Arc::clone(&channel.name), channel.end());
        let resumed = self.resume(channel, since);
        let (next, start) = match resumed {
            Ok(Some(seq)) => (channel.after(seq), seq),
            Ok(None) | Err(()) => (live, self.last),
        };
        let complete = resumed.map(|seq| seq.map(|_| true)).unwrap_or(Some(false));
        let Some(own) = self.readers.get_mut(reader) else { return Ok(None) };
        if let Some(channel) = self.channels.get_mut(at) {
            own.links.push(Link { channel: at, place: channel.places.len() as u32, live, frames });
            channel.places.push(Place { next, reader });
        }
        if own.open {
            match complete {
                Some(false) => own.notify(Notice::Gap(name)),
                _ if next < live => _ = own.nudge(),
                _ => {}
            }
        } else {
            own.recovered = own.recovered.into_iter().chain(complete).reduce(|all, this| all && this);
            own.gap.extend((complete == Some(false)).then_some(name));
            if !own.placed {
                own.position = own.position.min(start);
            }
        }
        Ok(complete)
    }

    /// All is subscribed that belongs to the first replay: it starts. Returns whether the reader
    /// gets all that it missed, as [`Log::subscribe`] does.
    pub(super) fn open(&mut self, reader: u32) -> Option<bool> {
        let Log { readers, channels, last, .. } = self;
        let own = readers.get_mut(reader).filter(|own| !own.open)?;
        own.open = true;
        let replays = own.links.iter().any(|link| {
            let channel = channels.get(link.channel);
            channel.is_some_and(|channel| {
                channel.places.get(link.place as usize).is_some_and(|it| it.next < channel.end())
            })
        });
        // With nothing to replay it stands at the end: a gap that has been announced is none again.
        own.position = if replays { own.position.min(*last) } else { *last };
        let cursor = Cursor { epoch: self.epoch, seq: own.position };
        let gap = std::mem::take(&mut own.gap);
        own.notices.insert(0, Notice::Open { cursor, recovered: own.recovered, gap });
        own.nudge();
        own.recovered
    }

    /// Ends a subscription; of its channel the reader is told nothing more. False if there is none.
    pub(super) fn unsubscribe(&mut self, reader: u32, target: Target<'_>) -> bool {
        let Some(index) = self.link(reader, target) else { return false };
        let Some(own) = self.readers.get_mut(reader) else { return false };
        let link = own.links.swap_remove(index);
        own.notices.retain(|notice| notice.channel().is_none_or(|channel| **channel != *target.name()));
        self.leave(link);
        true
    }

    /// Tells a reader something of the server's own.
    pub(super) fn notify(&mut self, reader: u32, notice: Notice) {
        if let Some(own) = self.readers.get_mut(reader) {
            own.notify(notice);
        }
    }

    /// Which of a reader's subscriptions is the one to `target`.
    fn link(&self, reader: u32, target: Target<'_>) -> Option<usize> {
        let same = |link: &Link| {
            let channel = self.channels.get(link.channel);
            channel.is_some_and(|channel| match target {
                Target::Channel(name) => !channel.is_pattern && *channel.name == *name,
                Target::Pattern(text) => channel.is_pattern && *channel.name == *text,
            })
        };
        self.readers.get(reader)?.links.iter().position(same)
    }

    /// Takes a reader's place out of a channel.
    fn leave(&mut self, link: Link) {
        let Some(channel) = self.channels.get_mut(link.channel) else { return };
        if (link.place as usize) < channel.places.len() {
            channel.places.swap_remove(link.place as usize);
        }
        // The last one has taken its place.
        if let Some(moved) = channel.places.get(link.place as usize)
            && let Some(own) = self.readers.get_mut(moved.reader)
            && let Some(moved) = own.links.iter_mut().find(|moved| moved.channel == link.channel)
        {
            moved.place = link.place;
        }
        let places = &mut channel.places;
        if places.capacity() > 64 && places.len() < places.capacity() / 4 {
            places.shrink_to(2 * places.len());
        }
        self.release(link.channel);
    }

    // ---- reading -------------------------------------------------------------------------

    /// Gives `visit` what a reader has not got yet, its channels merged in the log's order, as
    /// far as there is room. `visit` returns the bytes that it took.
    ///
    /// `blocked`: the reader's socket has not kept up since it read last, so that tickers skip
    /// what is not the newest.
    pub(super) fn read(
        &mut self,
        reader: u32,
        room: Room,
        blocked: bool,
        mut visit: impl FnMut(Item<'_>, &Wire) -> usize,
    ) -> Batch {
        let mut batch = Batch::default();
        if blocked {
            self.update_policies(reader);
        }
        let Log { readers, channels, heads, wire, .. } = self;
        let Some(own) = readers.get_mut(reader).filter(|own| own.open) else { return batch };
        if own.given_up {
            batch.overrun = true;
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
                channel.leap(link.place);
            }
            heads.extend(head(channel, link.place).map(|seq| Reverse((seq, index as u32))));
        }
        batch.notices = std::mem::take(&mut own.notices);
        for notice in &batch.notices {
            batch.bytes += visit(Item::Notice(notice), wire);
        }
        // A pattern may bring the same message once more, and then does so right away.
        let mut previous = 0;
        while let Some(Reverse((seq, index))) = heads.pop() {
            if batch.is_full(room) && seq != previous {
                batch.more = true;
                break;
            }
            let Some(link) = own.links.get(index as usize).copied() else { continue };
            let Some(channel) = channels.get_mut(link.channel) else { continue };
            let Some(place) = channel.places.get(link.place as usize) else { continue };
            // Up to where another channel's message comes first.
            let limit = heads.peek().map_or(u64::MAX, |Reverse((seq, _))| *seq);
            let mut unread = channel.unread(place.next);
            while let Some((number, message)) = unread.peek() {
                let seq = message.seq();
                let again = seq == previous;
                if seq > limit || (batch.is_full(room) && !again) {
                    break;
                }
                unread.advance();
                let replayed = number < link.live;
                if again || (replayed && !message.stored()) {
                    continue;
                }
                if message.except() == Some(own.id) {
                    if message.stored() && seq > own.position {
                        batch.bytes += visit(Item::Passed(seq), wire);
                        own.position = seq;
                    }
                    continue;
                }
                batch.bytes += visit(Item::Message(message, seq > own.position, link.frames), wire);
                batch.messages += 1;
                previous = seq;
                own.position = own.position.max(seq);
            }
            let (next, head) = (unread.next(), unread.peek().map(|(_, message)| message.seq()));
            if let Some(place) = channel.places.get_mut(link.place as usize) {
                place.next = next;
            }
            heads.extend(head.map(|seq| Reverse((seq, index))));
        }
        own.woken = batch.more;
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

    /// Up to where a reader has got everything.
    pub(super) fn cursor(&self, reader: u32) -> Cursor {
        let seq = match self.readers.get(reader) {
            // What it has not subscribed it has not missed.
            Some(own) if own.open && !own.given_up && self.lag(reader).messages == 0 => self.last,
            Some(own) => own.position.min(self.last),
            None => self.last,
        };
        Cursor { epoch: self.epoch, seq }
    }

    /// How far a reader is behind, all its channels together.
    pub(super) fn lag(&self, reader: u32) -> Lag {
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

    /// Whether anything is left for a reader of what was published up to `seq`, or of what it is to
    /// be told.
    pub(super) fn is_behind(&self, reader: u32, seq: u64) -> bool {
        let Some(own) = self.readers.get(reader).filter(|own| own.open) else { return false };
        let next = |link: &Link| head(self.channels.get(link.channel)?, link.place);
        !own.notices.is_empty() || own.links.iter().filter_map(next).any(|next| next <= seq)
    }

    /// The reader's socket has taken nothing for too long: what its channels' rules say is done.
    /// False if it must be closed.
    pub(super) fn stalled(&mut self, reader: u32) -> bool {
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
            if let (Some(count), Slow::Drop) = (channel.leap(own.links[index].place), channel.policy.slow) {
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
