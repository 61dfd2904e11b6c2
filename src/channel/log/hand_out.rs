//! Taking messages out of the log for readers that need not read by themselves.

use super::super::batch::BatchLimit;
use super::super::outlets::{Outlets, SharedBatch};
use super::super::slab::Slab;
use super::super::work::{self, PIECE};
use super::attached::{Attached, Link, NO_OUTLET};
use super::channel::{Channel, Place};
use super::store::Log;

/// A reader of more channels than this reads by itself: for each message, all its other channels would have to be looked at.
const MAX_LINKS: usize = 8;

impl Log {
    /// As [`Log::deliver`], but a reader that has an outlet which takes its messages is not woken: its outlet gets a batch.
    /// Gives something to at most `most` outlets, and looks at as many places and channels as one hold of the lock may. Returns
    /// whether more readers are left.
    pub(crate) fn hand_out(
        &mut self,
        outlets: &mut impl Outlets,
        batches: &mut Vec<SharedBatch>,
        limit: BatchLimit,
        most: usize,
    ) -> bool {
        let (mut given, mut looked) = (0, 0);
        while let Some((at, mut index)) = self.next_dirty() {
            work::looked(1);
            looked += 1;
            while let Some(place) = self.place(at, index) {
                if given == most || looked >= PIECE {
                    self.delivering = Some((at, index));
                    return true;
                }
                looked += 1;
                if self.has_read(at, place) {
                    // A message came while the delivery was in this channel, so it comes here once more. To wake this reader
                    // would have it read the next messages by itself, too.
                } else if let Some((outlet, batch)) = self.batch_for(at, place, outlets, batches, limit) {
                    self.move_place(at, index, place.reader, batches.get(batch));
                    outlets.give(outlet, batch);
                    given += 1;
                } else if let Some(own) = self.readers.get_mut(place.reader) {
                    own.wake_once();
                }
                index += 1;
            }
        }
        false
    }

    fn place(&self, at: u32, index: usize) -> Option<Place> {
        self.channels.get(at)?.places.get(index).copied()
    }

    /// Whether a reader has got all messages of the channel `at`.
    fn has_read(&self, at: u32, place: Place) -> bool {
        self.channels.get(at).is_some_and(|channel| place.next == channel.end())
    }

    /// The outlet of the reader at a place of the channel `at`, and the batch for it. `None`: the reader must read by itself.
    fn batch_for(
        &self,
        at: u32,
        place: Place,
        outlets: &mut impl Outlets,
        batches: &mut Vec<SharedBatch>,
        limit: BatchLimit,
    ) -> Option<(u32, usize)> {
        let Log { readers, channels, .. } = self;
        let own = readers.get(place.reader).filter(|own| own.outlet != NO_OUTLET)?;
        let link = only_new(own, at, place, channels)?;
        let encoding = outlets.encoding(own.outlet, place.reader)?;
        let is_for = |batch: &SharedBatch| batch.is_for(at, place.next, encoding, link.frames);
        // Nearly all readers get the newest batch.
        let index = batches.iter().rposition(is_for).unwrap_or_else(|| {
            let mut batch = SharedBatch::new(at, place.next, encoding, link.frames);
            let messages = channels.get(at).into_iter().flat_map(|channel| channel.messages_from(place.next));
            batch.fill(messages, limit);
            batches.push(batch);
            batches.len() - 1
        });
        let batch = batches.get(index).filter(|batch| batch.fits)?;
        // Otherwise the client's cursor would go back, or the messages are about members of which the client was told already, or
        // one of them must not go to this client.
        let passes = own.position < batch.first && link.here < batch.first && !batch.except.contains(&own.id);
        passes.then_some((own.outlet, index))
    }

    /// A reader has got a batch: it has read the channel to its end.
    fn move_place(&mut self, at: u32, index: usize, reader: u32, batch: Option<&SharedBatch>) {
        let Log { readers, channels, .. } = self;
        if let Some(channel) = channels.get_mut(at) {
            let end = channel.end();
            channel.places.get_mut(index).into_iter().for_each(|place| place.next = end);
        }
        if let (Some(own), Some(batch)) = (readers.get_mut(reader), batch) {
            own.position = own.position.max(batch.last);
        }
    }
}

/// The subscription of a reader to the channel `at`, if nothing is there for the reader but messages of this channel that are
/// newer than the subscription.
fn only_new(own: &Attached, at: u32, place: Place, channels: &Slab<Channel>) -> Option<Link> {
    if !own.open || own.woken || own.given_up || !own.notices.is_empty() || own.links.len() > MAX_LINKS {
        return None;
    }
    let mut found = None;
    for link in &own.links {
        if link.channel == at {
            found = Some(*link);
            continue;
        }
        // Messages of several channels must be merged.
        let other = channels.get(link.channel)?;
        if other.places.get(link.place as usize)?.next != other.end() {
            return None;
        }
    }
    found.filter(|link| place.next >= link.live)
}
