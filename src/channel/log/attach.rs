//! Where readers start: attach, subscribe, open.

use std::sync::Arc;
use std::time::Instant;

use super::super::cursor::{Cursor, Since};
use super::super::draft::Kind;
use super::super::error::Error;
use super::super::notice::Notice;
use super::super::subscription::Target;
use super::super::wake::Wake;
use super::attached::{Attached, Link, NO_OUTLET};
use super::channel::Place;
use super::store::Log;

impl Log {
    /// Attaches a reader that subscribes to nothing yet.
    pub(crate) fn attach(&mut self, id: u64, wake: Arc<dyn Wake>, since: Since) -> u32 {
        let ours = |cursor: &Cursor| cursor.epoch == self.epoch && cursor.seq <= self.last;
        let (placed, position) = match since {
            Since::After(cursor) if ours(&cursor) => (true, cursor.seq),
            // The first of its subscriptions starts here.
            _ => (false, u64::MAX),
        };
        self.readers.insert(Attached {
            id,
            position,
            links: Vec::new(),
            outlet: NO_OUTLET,
            open: false,
            woken: false,
            given_up: false,
            placed,
            notices: Vec::new(),
            wake,
            since,
            recovered: None,
            gap: Vec::new(),
        })
    }

    /// Sets the number of a reader's outlet.
    pub(crate) fn set_outlet(&mut self, reader: u32, outlet: u32) {
        self.readers.get_mut(reader).into_iter().for_each(|own| own.outlet = outlet);
    }

    /// Ends all subscriptions of a reader.
    pub(crate) fn detach(&mut self, reader: u32) {
        let links = self.readers.get_mut(reader).map(|own| std::mem::take(&mut own.links));
        for link in links.unwrap_or_default() {
            self.leave(link);
        }
        self.readers.remove(reader);
    }

    /// Subscribes a reader from `since` on, or from the cursor that its client has sent. Returns whether the reader
    /// gets everything that it has missed. `None` if it asks only for new messages, or has the subscription already.
    pub(crate) fn subscribe(
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
            own.links.push(Link { channel: at, place: channel.places.len() as u32, live, here: 0, frames });
            channel.places.push(Place { next, reader });
        }
        if own.open {
            match complete {
                Some(false) => own.notify(Notice::Gap { channel: name, cursor: None }),
                _ if next < live => _ = own.wake_once(),
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

    /// The first subscriptions are complete, so their replay starts. `lost`: see [`Notice::Open`]. Returns whether the reader gets everything that it
    /// has missed, as [`Log::subscribe`] does.
    pub(crate) fn open(&mut self, reader: u32, lost: bool) -> Option<bool> {
        let Log { readers, channels, last, .. } = self;
        let own = readers.get_mut(reader).filter(|own| !own.open)?;
        own.open = true;
        let replays = own.links.iter().any(|link| {
            let channel = channels.get(link.channel);
            channel.is_some_and(|channel| {
                channel.places.get(link.place as usize).is_some_and(|it| it.next < channel.end())
            })
        });
        // Without a replay the reader is at the end, so that a gap is announced only once.
        own.position = if replays { own.position.min(*last) } else { *last };
        let cursor = Cursor { epoch: self.epoch, seq: own.position };
        let gap = std::mem::take(&mut own.gap);
        own.notices.insert(0, Notice::Open { cursor, recovered: own.recovered, gap, lost });
        own.wake_once();
        own.recovered
    }

    /// Ends a subscription. The reader gets no further notices about its channel. Returns false if there is none.
    pub(crate) fn unsubscribe(&mut self, reader: u32, target: Target<'_>) -> bool {
        let Some(index) = self.link(reader, target) else { return false };
        let Some(own) = self.readers.get_mut(reader) else { return false };
        let link = own.links.swap_remove(index);
        own.notices.retain(|notice| notice.channel().is_none_or(|channel| **channel != *target.name()));
        self.leave(link);
        true
    }

    /// Gives a reader the members of a channel, as of the log's end. It gets no earlier announcement any more.
    pub(crate) fn tell_members(&mut self, reader: u32, name: &str, notice: Notice) {
        let (at, last) = (self.names.get(name), self.last);
        let Some(own) = self.readers.get_mut(reader) else { return };
        if let Some(link) = own.links.iter_mut().find(|link| Some(link.channel) == at) {
            link.here = last;
        }
        own.notify(notice);
    }

    /// The same for all readers of a channel.
    pub(crate) fn tell_members_to_all(&mut self, name: &str, notice: impl Fn() -> Notice) {
        let channel = self.names.get(name).and_then(|at| self.channels.get(at));
        let readers: Vec<_> =
            channel.into_iter().flat_map(|channel| &channel.places).map(|place| place.reader).collect();
        readers.into_iter().for_each(|reader| self.tell_members(reader, name, notice()));
    }

    /// The index of a reader's subscription to `target`.
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

    /// Removes a reader's place from a channel.
    fn leave(&mut self, link: Link) {
        let Some(channel) = self.channels.get_mut(link.channel) else { return };
        if (link.place as usize) < channel.places.len() {
            channel.places.swap_remove(link.place as usize);
        }
        // The last place was moved to the removed one's index.
        if let Some(moved) = channel.places.get(link.place as usize)
            && let Some(own) = self.readers.get_mut(moved.reader)
            && let Some(moved) = own.links.iter_mut().find(|moved| moved.channel == link.channel)
        {
            moved.place = link.place;
        }
        let places = &mut channel.places;
        // A delivery is in this channel, and would miss the reader that was moved: its place was still to come.
        if let Some((at, reached)) = self.delivering
            && at == link.channel
            && (link.place as usize) < reached
            && places.len() >= reached
            && let Some(moved) = places.get(link.place as usize)
        {
            self.readers.get_mut(moved.reader).into_iter().for_each(|own| _ = own.wake_once());
        }
        if places.capacity() > 64 && places.len() < places.capacity() / 4 {
            places.shrink_to(2 * places.len());
        }
        self.release(link.channel);
    }
}
