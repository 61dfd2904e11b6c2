//! The log starts again: in another epoch, or behind lost messages.

use std::sync::Arc;

use super::super::cursor::Cursor;
use super::super::event::Reset;
use super::super::forgotten::Forgotten;
use super::super::notice::Notice;
use super::channel::GIVEN_UP;
use super::store::Log;

impl Log {
    /// Forgets all messages and takes over another log. Every reader gets a gap notice for each of its channels, with a
    /// cursor of the new log, and loses the messages that it has not read. From now on, a subscription that starts at a
    /// cursor of another epoch, or below a floor, has a gap.
    ///
    /// Looks at all channels and readers in one hold of the lock, because no reader may read a log that is half replaced.
    /// This is rare: the engine has lost messages.
    pub(crate) fn rebase(&mut self, reset: Reset) {
        let Reset { epoch, last, forgotten, floors, history } = reset;
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
        self.rebase(Reset {
            epoch: self.epoch,
            last,
            forgotten: Forgotten::all(last),
            floors: Vec::new(),
            history: Vec::new(),
        });
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
        } else if let Some(Notice::Open { cursor: start, recovered, gap }) = own.notices.first_mut() {
            // The reader has not got the notice with its start yet, so the gap becomes a part of that notice.
            (*start, *recovered, *gap) = (cursor, Some(false), names);
        } else {
            names.into_iter().for_each(|channel| own.notify(Notice::Gap { channel, cursor: Some(cursor) }));
        }
    }
}
