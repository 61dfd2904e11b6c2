//! A hub that lives, and the bytes of its connections.

use std::collections::BTreeMap;

use super::super::wire::Wire;
use crate::engine::hub::server::{Flushed, Hub, PeerId};

/// A hub that lives, and the connections of its peers.
pub(super) struct Living {
    pub(super) hub: Hub,
    pub(super) wires: BTreeMap<PeerId, usize>,
    /// The connection on which the hub before sends its report.
    pub(super) before: Option<PeerId>,
    /// It serves, and this was noted.
    pub(super) noted: bool,
}

/// The hub reads from a connection. Returns whether it has ended.
pub(super) fn read(living: &mut Living, wire: &mut Wire, id: PeerId, most: usize) -> bool {
    let (bytes, ended) = if living.before == Some(id) {
        // The hub before has written to it.
        let count = most.min(wire.to_peer.len());
        let bytes: Vec<u8> = wire.to_peer.drain(..count).collect();
        (bytes, wire.hub_closed && wire.to_peer.is_empty())
    } else {
        let bytes = wire.read_by_hub(most);
        (bytes, wire.peer_closed && wire.to_hub.is_empty())
    };
    if !bytes.is_empty() {
        living.hub.receive(id, &bytes);
    }
    if ended {
        living.hub.gone(id);
    }
    ended
}

/// The hub writes to the next peer that has something. Returns false if there is none.
pub(super) fn write(living: &mut Living, wires: &mut [Wire], most: usize) -> bool {
    for (id, wire) in &living.wires {
        if wires[*wire].has_room() {
            living.hub.unblock(*id);
        }
    }
    let mut any = false;
    while let Some(id) = living.hub.next_writer() {
        let Some(wire) = living.wires.get(&id).copied() else { continue };
        let before = wires[wire].to_peer.len();
        let flushed = living.hub.flush(id, |slices| wires[wire].write_to_peer(slices, most));
        any |= wires[wire].to_peer.len() > before;
        close(living, wires);
        if flushed == Flushed::More || any {
            return any;
        }
    }
    any
}

/// Closes what the hub wants closed.
pub(super) fn close(living: &mut Living, wires: &mut [Wire]) {
    while let Some(id) = living.hub.next_closed() {
        if let Some(wire) = living.wires.remove(&id) {
            wires[wire].hub_closed = true;
        }
    }
}
