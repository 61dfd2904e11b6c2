//! Taking messages out of the log for readers that need not read by themselves.

use super::super::batch::BatchLimit;
use super::super::outlets::{Outlets, Parcel};
use super::super::slab::Slab;
use super::super::work::{self, PIECE};
use super::attached::{Attached, Link, NO_OUTLET};
use super::channel::{Channel, Place};
use super::store::Log;

/// A reader of more channels than this reads by itself: the others would all have to be looked at.
const LINKS: usize = 8;

impl Log {
    /// As [`Log::deliver`], but a reader that has an outlet which takes its messages is not woken: its outlet gets a parcel.
    /// Gives at most `most` parcels, and looks at as many places and channels as one hold of the lock may. Returns whether
    /// there are more.
    pub(crate) fn hand_out(
        &mut self,
        outlets: &mut impl Outlets,
        parcels: &mut Vec<Parcel>,
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
                if let Some((outlet, parcel)) = self.parcel_for(at, place, outlets, parcels, limit) {
                    self.move_place(at, index, place.reader, parcels.get(parcel));
                    outlets.give(outlet, parcel);
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

    /// The outlet of the reader at a place of the channel `at`, and the parcel for it. `None`: the reader must read by itself.
    fn parcel_for(
        &self,
        at: u32,
        place: Place,
        outlets: &mut impl Outlets,
        parcels: &mut Vec<Parcel>,
        limit: BatchLimit,
    ) -> Option<(u32, usize)> {
        let Log { readers, channels, .. } = self;
        let own = readers.get(place.reader).filter(|own| own.outlet != NO_OUTLET)?;
        let link = only_new(own, at, place, channels)?;
        let encoding = outlets.encoding(own.outlet, place.reader)?;
        let is_for = |parcel: &Parcel| parcel.is_for(at, place.next, encoding, link.frames);
        // Nearly all readers get the newest parcel.
        let index = parcels.iter().rposition(is_for).unwrap_or_else(|| {
            let mut parcel = Parcel::new(at, place.next, encoding, link.frames);
            let messages = channels.get(at).into_iter().flat_map(|channel| channel.messages_from(place.next));
            parcel.fill(messages, limit);
            parcels.push(parcel);
            parcels.len() - 1
        });
        let parcel = parcels.get(index).filter(|parcel| parcel.fits)?;
        // Its client's cursor would go back, it was told of these members, or it has published one of them.
        let passes = own.position < parcel.first && link.here < parcel.first && !parcel.except.contains(&own.id);
        passes.then_some((own.outlet, index))
    }

    /// A reader has got a parcel: it has read the channel to its end.
    fn move_place(&mut self, at: u32, index: usize, reader: u32, parcel: Option<&Parcel>) {
        let Log { readers, channels, .. } = self;
        if let Some(channel) = channels.get_mut(at) {
            let end = channel.end();
            channel.places.get_mut(index).into_iter().for_each(|place| place.next = end);
        }
        if let (Some(own), Some(parcel)) = (readers.get_mut(reader), parcel) {
            own.position = own.position.max(parcel.last);
        }
    }
}

/// The subscription of a reader to the channel `at`, if nothing is there for the reader but messages of this channel that are
/// newer than the subscription.
fn only_new(own: &Attached, at: u32, place: Place, channels: &Slab<Channel>) -> Option<Link> {
    if !own.open || own.woken || own.given_up || !own.notices.is_empty() || own.links.len() > LINKS {
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
