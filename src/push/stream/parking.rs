//! When a stream is parked, so that messages are sent to its socket without waking it: see [`crate::push::fan_out`].
//!
//! A stream is parked only between two of its turns. So all other code of a stream need not know of this.

#[cfg(test)]
mod tests;

use std::task::Waker;

use super::task::{State, Stream};
use crate::base::timers::Stamp;
use crate::push::fan_out::{Parked, Parking};
use crate::push::queue::Sent;

impl Stream {
    /// Parks the stream at the end of its turn, if messages of channels and writes are all that it may have to send next.
    pub(super) fn park(&mut self, task: &Waker) {
        let fan_out = &self.client.context().fan_out;
        let Some(descriptor) = self.pipe.plain_descriptor().filter(|_| self.is_quiet() && fan_out.is_on()) else {
            return;
        };
        let outlet = self.parking.outlet().unwrap_or_else(|| {
            let outlet = fan_out.enter(&self.client, task);
            self.parking.set_outlet(outlet);
            outlet
        });
        if let Some(client_reader) = self.client_reader.as_ref().filter(|_| !self.parking.is(Parking::KNOWN)) {
            let reader = client_reader.reader();
            fan_out.set_reader(outlet, reader.number());
            reader.set_outlet(outlet.number());
            self.parking.set(Parking::KNOWN, true);
        }
        fan_out.park(outlet, descriptor, self.due.map(Stamp::of));
        self.parking.set(Parking::PARKED, true);
    }

    /// Whether the stream is open, has read all its channels, and waits only for input, a deadline, or something new to send.
    fn is_quiet(&self) -> bool {
        matches!(self.state, State::Open)
            && !self.has_unsent()
            && self.blocked.is_none()
            && (!self.lagged || self.client_reader.is_none())
            && self.delivers.is_none()
            && self.input_end.is_none()
            && !self.paused
            && !self.backlog
            && self.bounds.slow_at.is_none()
    }

    /// To be called at the beginning of a turn. Counts what was sent for the stream meanwhile, and queues what its socket has not
    /// taken, as if the stream itself had tried to send it.
    #[inline(never)]
    pub(super) fn unpark(&mut self) {
        self.parking.set(Parking::PARKED, false);
        let parked = self.parking.outlet().and_then(|outlet| self.client.context().fan_out.unpark(outlet));
        parked.into_iter().for_each(|parked| self.take_in(parked));
    }

    /// To be called when the stream ends: nothing more is sent for it.
    pub(super) fn leave_fan_out(&mut self) {
        // In a forked child, the lock may be held by a thread that does not exist there.
        if let Some(outlet) = std::mem::take(&mut self.parking).outlet().filter(|_| !self.client.forked()) {
            let parked = self.client.context().fan_out.leave(outlet);
            parked.into_iter().for_each(|parked| self.take_in(parked));
        }
    }

    fn take_in(&mut self, parked: Parked) {
        let Parked { bytes, mut writes, sent_at, rest } = parked;
        if let Some(at) = sent_at {
            self.last_write_at = at.moment();
            self.bytes_written += bytes;
        }
        if let Some(rest) = rest {
            rest.frames.into_iter().for_each(|frame| self.queue.push(frame));
            let sent = if rest.taken > 0 { self.queue.advance(rest.taken) } else { Sent::default() };
            writes += sent.writes;
            self.client.context().base.stats.messages_out.add_many(sent.writes as u64);
            if sent != Sent::default() {
                self.bounds = self.client.sent(&sent);
            }
            self.delivers = rest.newest;
        }
        self.record.iter_mut().for_each(|record| record.sent(bytes as usize, writes));
    }
}
