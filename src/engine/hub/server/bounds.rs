//! What bounds an outsider, which may be any process of the same user.

use super::super::protocol::{INCOMPLETE, LONGEST, OVERHEAD, PATIENCE, PIECE};
use super::peer::{Kind, Peer, PeerId};
use super::state::Hub;

/// Bytes of a frame of an outsider that is not welcome yet.
const FIRST: usize = 1024;

/// Bytes of answers that an outsider has not taken. Beyond it, nothing is read from the outsider.
const ANSWERS: usize = 64 << 10;

impl Hub {
    /// Whether the driver reads from the peer: not while an outsider takes no answers.
    pub fn reads(&self, id: PeerId) -> bool {
        let full = |peer: &Peer| peer.control.len() + peer.staged_bytes() > ANSWERS;
        !self.peers.get(&id).is_some_and(|peer| peer.kind == Kind::Outsider && full(peer))
    }

    /// Bytes of the longest frame that the peer may send.
    pub(super) fn longest_frame(&self, id: PeerId) -> usize {
        match self.peers.get(&id) {
            Some(peer) if peer.kind == Kind::Outsider => {
                if peer.welcomed {
                    self.longest() + OVERHEAD
                } else {
                    FIRST
                }
            }
            // A worker does not know what this hub accepts, which may be less than what the one before did: see
            // `Hub::number`.
            _ => LONGEST,
        }
    }

    /// Keeps the beginning of a frame. Returns false if that is too much.
    pub(super) fn keep_input(&mut self, id: PeerId, mut input: Vec<u8>) -> bool {
        let most = INCOMPLETE + self.longest();
        let Some(peer) = self.peers.get_mut(&id) else { return true };
        if input.is_empty() {
            input = Vec::new();
        }
        peer.input = input;
        if peer.kind != Kind::Outsider {
            return true;
        }
        self.incomplete += peer.input.len();
        self.incomplete <= most || peer.input.len() <= PIECE
    }

    /// Takes what was kept.
    pub(super) fn take_input(&mut self, id: PeerId) -> Vec<u8> {
        let Some(peer) = self.peers.get_mut(&id) else { return Vec::new() };
        let input = std::mem::take(&mut peer.input);
        if peer.kind == Kind::Outsider {
            self.incomplete -= input.len();
        }
        input
    }

    /// Closes the connections of outsiders that have begun something and do not go on.
    pub(super) fn close_slow_outsiders(&mut self) {
        let now = self.now.0;
        let slow = self.peers.iter().filter(|(id, peer)| {
            let begun = peer.hello.is_none() || !peer.input.is_empty();
            let waits = begun && now.saturating_duration_since(peer.heard) >= PATIENCE;
            peer.kind == Kind::Outsider && waits && self.reads(**id)
        });
        for id in slow.map(|(id, _)| *id).collect::<Vec<_>>() {
            log::debug!("the hub closes a connection of a process that publishes: it has sent no whole frame in time");
            self.close(id);
        }
    }
}
