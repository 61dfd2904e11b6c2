//! Messages of channels for parked streams.

use bytes::Bytes;

use super::table::{Entry, PIECE, Rest, Table};
use crate::base;
use crate::base::timers::Stamp;
use crate::channel::{Channels, Encoding, Outlets, Parcel};
use crate::push::compression;
use crate::push::queue::Frame;

impl Table {
    /// Sends one piece. Returns whether there are more.
    pub(super) fn deliver(&mut self, channels: &Channels, base: &base::Context) -> bool {
        let Table { entries, rests, given, parcels, .. } = self;
        let now = base.timers.stamp();
        let (more, deflations) = channels.hand_out(&mut Claims { entries, given, now }, parcels, PIECE);
        compression::count(&base.stats, &deflations);
        let mut sendings: Vec<_> = parcels.iter().map(Sending::new).collect();
        let mut bytes = 0;
        for (outlet, parcel) in given.drain(..) {
            let Some(sending) = sendings.get_mut(parcel as usize) else { continue };
            let Some(entry) = entries.get_mut(outlet as usize).and_then(Option::as_mut) else { continue };
            let taken = entry.send(&sending.bytes, now);
            bytes += taken as u64;
            sending.readers += 1;
            if taken == sending.bytes.len() {
                sending.complete += 1;
            } else if let Some(parcel) = parcels.get(parcel as usize) {
                // Frame by frame: others may be sent between them.
                let frames = parcel.frames().iter().cloned().map(Frame::own).collect();
                rests.insert(outlet, Rest { frames, taken, newest: parcel.newest() });
                entry.give_back();
            }
        }
        for (parcel, sending) in parcels.drain(..).zip(sendings) {
            base.stats.delivered.add_many(parcel.messages() as u64 * sending.readers);
            let time = parcel.newest().map_or(0, |published| now.microseconds_since(published));
            base.stats.delivery_time.observe_many(time, sending.complete);
        }
        base.stats.bytes_out.add_many(bytes);
        more
    }
}

/// What takes messages out of the log for parked streams.
struct Claims<'a> {
    entries: &'a mut [Option<Entry>],
    /// Outlets, each with its parcel.
    given: &'a mut Vec<(u32, u32)>,
    now: Stamp,
}

impl Outlets for Claims<'_> {
    fn encoding(&mut self, outlet: u32, reader: u32) -> Option<Encoding> {
        let entry = self.entries.get(outlet as usize)?.as_ref()?;
        // The channels may have several servers, each with its own outlets. But a reader belongs to one of them.
        if entry.reader != reader || !entry.is_parked(self.now) || !entry.client.is_calm() {
            return None;
        }
        // The app may have said since that nothing is to be compressed, or the opposite.
        Some(if entry.encoding.deflate.is_some() { entry.client.encoding() } else { entry.encoding })
    }

    fn give(&mut self, outlet: u32, parcel: usize) {
        self.given.push((outlet, parcel as u32));
    }
}

/// A parcel as it is sent.
struct Sending {
    /// Its frames, one behind the other.
    bytes: Bytes,
    /// How many readers have got it, and how many of their sockets have taken all of it.
    readers: u64,
    complete: u64,
}

impl Sending {
    fn new(parcel: &Parcel) -> Self {
        let bytes = match parcel.frames() {
            [only] => only.clone(),
            frames => frames.concat().into(),
        };
        Sending { bytes, readers: 0, complete: 0 }
    }
}
