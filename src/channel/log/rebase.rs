//! The log begins anew: in another epoch, or behind a loss.

use std::sync::Arc;

use super::super::cursor::Cursor;
use super::super::event::Reset;
use super::super::notice::Notice;
use super::channel::GIVEN_UP;
use super::store::Log;

impl Log {
    /// Forgets all messages and takes over another log. Every reader is told of a gap in each of its channels, with a
    /// cursor of the new log; what it had not read is gone. A cursor of another epoch, or below a floor, is a gap from now
    /// on.
    ///
    /// Looks at all channels and readers under one hold of the lock: this happens when the engine has lost messages, and
    /// no reader may read between.
    pub(crate) fn rebase(&mut self, reset: Reset) {
        let Reset { epoch, last, floor, floors, history } = reset;
        self.set_epoch(epoch);
        self.last = last;
        self.set_forgotten_floors(floor);
        for at in 0..self.channels.end() {
            self.memory.change(&mut self.channels, at, |channel| {
                // A pattern's channel keeps nothing: only a reader that has seen all has seen all of it.
                let floor = if channel.is_pattern { last } else { floor };
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

    /// Messages up to the number `to` never came: the log begins anew behind them.
    pub(crate) fn lose(&mut self, to: u64) {
        let last = self.last.max(to);
        self.rebase(Reset { epoch: self.epoch, last, floor: last, floors: Vec::new(), history: Vec::new() });
    }

    /// What a reader has not got is gone: it stands at the end, and is told so.
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
            // It has not even been told where it starts.
            (*start, *recovered, *gap) = (cursor, Some(false), names);
        } else {
            names.into_iter().for_each(|channel| own.notify(Notice::Gap { channel, cursor: Some(cursor) }));
        }
    }
}
