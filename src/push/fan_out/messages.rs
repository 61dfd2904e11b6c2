//! Messages of channels for parked streams.

use bytes::Bytes;

use super::table::{Entry, PIECE, Rest, Table};
use crate::base;
use crate::base::timers::Stamp;
use crate::channel::{Channels, Encoding, Outlets, SharedBatch};
use crate::push::compression;
use crate::push::queue::Frame;

impl Table {
    /// Sends new messages to at most [`PIECE`] parked streams. Returns whether more readers are left.
    pub(super) fn deliver(&mut self, channels: &Channels, base: &base::Context) -> bool {
        let Table { entries, rests, given, batches, .. } = self;
        let now = base.timers.stamp();
        let (more, deflations) = channels.hand_out(&mut ParkedStreams { entries, given, now }, batches, PIECE);
        compression::count(&base.stats, &deflations);
        let mut sendings: Vec<_> = batches.iter().map(Sending::new).collect();
        let mut bytes = 0;
        for (outlet, batch) in given.drain(..) {
            let Some(sending) = sendings.get_mut(batch as usize) else { continue };
            let Some(entry) = entries.get_mut(outlet as usize).and_then(Option::as_mut) else { continue };
            let taken = entry.send(&sending.bytes, now);
            bytes += taken as u64;
            sending.readers += 1;
            if taken == sending.bytes.len() {
                sending.complete += 1;
            } else if let Some(batch) = batches.get(batch as usize) {
                // As single frames: the stream may send others, such as pongs, between them.
                let frames = batch.frames().iter().cloned().map(Frame::own).collect();
                rests.insert(outlet, Rest { frames, taken, newest: batch.newest() });
                entry.give_back();
            }
        }
        for (batch, sending) in batches.drain(..).zip(sendings) {
            base.stats.delivered.add_many(batch.messages() as u64 * sending.readers);
            let time = batch.newest().map_or(0, |published| now.microseconds_since(published));
            base.stats.delivery_time.observe_many(time, sending.complete);
        }
        base.stats.bytes_out.add_many(bytes);
        more
    }
}

/// The parked streams, as the log sees them.
struct ParkedStreams<'a> {
    entries: &'a mut [Option<Entry>],
    /// Outlets, each with the index of its batch.
    given: &'a mut Vec<(u32, u32)>,
    now: Stamp,
}

impl Outlets for ParkedStreams<'_> {
    fn encoding(&mut self, outlet: u32, reader: u32) -> Option<Encoding> {
        let entry = self.entries.get(outlet as usize)?.as_ref()?;
        // The channels may have several servers, each with its own outlets. But a reader belongs to one of them.
        if entry.reader != reader || !entry.is_parked(self.now) || !entry.client.outbox_unchanged() {
            return None;
        }
        // The app may have said since that nothing is to be compressed, or the opposite.
        Some(if entry.encoding.deflate.is_some() { entry.client.encoding() } else { entry.encoding })
    }

    fn give(&mut self, outlet: u32, batch: usize) {
        self.given.push((outlet, batch as u32));
    }
}

/// A batch as it is sent.
struct Sending {
    /// Its frames, one behind the other.
    bytes: Bytes,
    /// How many readers have got it, and how many of their sockets have taken all of it.
    readers: u64,
    complete: u64,
}

impl Sending {
    fn new(batch: &SharedBatch) -> Self {
        let bytes = match batch.frames() {
            [only] => only.clone(),
            frames => frames.concat().into(),
        };
        Sending { bytes, readers: 0, complete: 0 }
    }
}
