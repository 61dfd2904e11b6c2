//! Parcels from one worker to another one. The hub knows only the process number on them.

use super::super::protocol::Frame;
use super::peer::{Kind, Peer, PeerId};
use super::state::Hub;
use crate::base::peers::Unreachable;

impl Peer {
    /// Puts parcels for the socket, until `enough` bytes are staged.
    pub(super) fn stage_parcels(&mut self, enough: usize) {
        while self.staged_bytes() < enough
            && let Some(frame) = self.parcels.pop()
        {
            self.stage(frame);
        }
    }
}

impl Hub {
    /// The supervisor says that a worker has ended without a drain.
    pub fn note_death(&mut self, process: u32) {
        self.routes.note_death(process);
    }

    /// A worker sends a parcel to the one with the number `process`.
    pub(super) fn relay(&mut self, id: PeerId, process: u32, number: u64, payload: &[u8]) -> Result<(), String> {
        let sender = self.peers.get(&id).filter(|peer| peer.welcomed).map(|peer| peer.kind);
        let Some(Kind::Worker(from)) = sender else {
            return Err("it has sent a parcel at the wrong time".to_owned());
        };
        let target = self.routes.find(process);
        let why = match target.and_then(|target| self.peers.get_mut(&target)) {
            None => self.routes.absence(process),
            Some(peer) if peer.parcels.is_full() => Unreachable::Full,
            Some(peer) => {
                peer.parcels.push(&Frame::Relay { process: from, id: number, payload });
                target.into_iter().for_each(|target| self.list(target));
                return Ok(());
            }
        };
        let length = payload.len() as u32;
        self.with(id, |peer| peer.send(&Frame::Unreachable { process, id: number, length, why }));
        self.list(id);
        Ok(())
    }

    /// The connection of a peer has ended. If it is a worker, the others are told.
    pub(super) fn part(&mut self, id: PeerId, peer: &Peer) {
        let Kind::Worker(process) = peer.kind else { return };
        for id in self.routes.leave(process, id) {
            // Behind its last parcels.
            self.with(id, |peer| peer.parcels.push(&Frame::Parted { process }));
            self.list(id);
        }
    }
}
