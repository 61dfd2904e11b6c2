//! Parcels from one worker to another one. The hub knows only the process number on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::super::protocol::Frame;
use super::peer::{Kind, Peer, PeerId};
use super::state::Hub;
use crate::base::peers::Unreachable;

/// Bytes of parcels that wait for one worker.
const WAITING: usize = 8 << 20;

/// How many workers that have died are remembered.
const DIED: usize = 256;

/// Where the workers are.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// The connections of workers that are welcome, by process number.
    connections: BTreeMap<u32, PeerId>,
    /// The process numbers of workers that the supervisor has connected and that have not ended.
    living: BTreeSet<u32>,
    /// Those that were killed or have crashed, the newest last.
    died: VecDeque<u32>,
}

impl Routes {
    /// These workers are there, or come.
    pub(super) fn expect(&mut self, processes: impl IntoIterator<Item = u32>) {
        self.living.extend(processes);
    }

    /// The worker has this connection now.
    pub(super) fn begin(&mut self, process: u32, id: PeerId) {
        self.connections.insert(process, id);
    }

    /// The worker has ended.
    pub(super) fn end(&mut self, process: u32) {
        self.living.remove(&process);
    }

    /// Why a parcel cannot go to a process that has no connection.
    fn absence(&self, process: u32) -> Unreachable {
        if self.living.contains(&process) {
            Unreachable::Away
        } else if self.died.contains(&process) {
            Unreachable::Died
        } else {
            Unreachable::Ended
        }
    }
}

/// The parcels that wait for a peer's socket.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Parcels {
    fn push(&mut self, frame: &Frame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.bytes += bytes.len();
        self.frames.push_back(bytes.freeze());
    }

    fn is_full(&self) -> bool {
        self.bytes >= WAITING
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

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
        if self.routes.died.len() == DIED {
            self.routes.died.pop_front();
        }
        self.routes.died.push_back(process);
    }

    /// A worker sends a parcel to the one with the number `process`.
    pub(super) fn relay(&mut self, id: PeerId, process: u32, number: u64, payload: &[u8]) -> Result<(), String> {
        let sender = self.peers.get(&id).filter(|peer| peer.welcomed).map(|peer| peer.kind);
        let Some(Kind::Worker(from)) = sender else {
            return Err("it has sent a parcel at the wrong time".to_owned());
        };
        let target = self.routes.connections.get(&process).copied();
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
        if self.routes.connections.get(&process) != Some(&id) {
            return;
        }
        self.routes.connections.remove(&process);
        for id in self.routes.connections.values().copied().collect::<Vec<_>>() {
            // Behind its last parcels.
            self.with(id, |peer| peer.parcels.push(&Frame::Parted { process }));
            self.list(id);
        }
    }
}
