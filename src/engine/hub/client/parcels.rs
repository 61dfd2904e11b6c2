//! Parcels, as the machine has them: from this process to the hub, and from the hub. See [`crate::base::peers`].

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::protocol::Frame;
use crate::base::in_flight::InFlightGuard;
use crate::base::peers::{Parcel, PeerEvent};

/// What a parcel costs beside its payload.
const COST: usize = size_of::<Parcel>();

/// Parcels on their way.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    pub(super) waiting: VecDeque<Parcel>,
    /// What holds those that were written last, until the socket has taken them.
    holds: Vec<InFlightGuard>,
    pub(super) events: Vec<PeerEvent>,
    /// Bytes of parcels that wait no longer.
    pub(super) gone: usize,
}

impl Parcels {
    fn next(&mut self) -> Option<Parcel> {
        let parcel = self.waiting.pop_front()?;
        self.gone += cost(&parcel);
        Some(parcel)
    }

    /// The socket has taken all that was written.
    pub(super) fn written(&mut self) {
        self.holds.clear();
    }

    /// Appends a frame. Returns false if there is none.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(Parcel { to, id, payload, hold }) = self.next() else { return false };
        Frame::Relay { process: to, id, payload: &payload }.encode(out);
        self.holds.extend(hold);
        true
    }

    /// The connection has ended.
    pub(super) fn disconnected(&mut self) {
        while self.next().is_some() {}
        self.holds.clear();
        self.events.push(PeerEvent::Lost);
    }

    /// Takes a frame of the hub. Returns false if it is of another kind.
    pub(super) fn receive(&mut self, frame: &Frame<'_>) -> bool {
        let event = match *frame {
            Frame::Relay { process: from, id, payload } => {
                PeerEvent::Parcel { from, id, payload: Bytes::copy_from_slice(payload) }
            }
            Frame::Unreachable { process: to, id, length, why } => PeerEvent::Unreachable { to, id, length, why },
            Frame::Parted { process } => PeerEvent::Parted { process },
            _ => return false,
        };
        self.events.push(event);
        true
    }
}

/// The memory that a parcel takes.
pub(super) fn cost(parcel: &Parcel) -> usize {
    parcel.payload.len() + COST
}
