use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::engine::hub::protocol::{Frame, decode};

/// Bytes that a socket holds in each direction.
const CAPACITY: usize = 600;

/// A connection between a peer and a hub.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) to_hub: VecDeque<u8>,
    pub(super) to_peer: VecDeque<u8>,
    /// The hub has died or has closed the connection. What is on its way to the peer still arrives.
    pub(super) hub_closed: bool,
    /// The peer has died or has closed the connection.
    pub(super) peer_closed: bool,
    /// What the peer has received of a frame that is not complete.
    received: Vec<u8>,
}

impl Wire {
    /// The hub writes at most `most` bytes.
    pub(super) fn write_to_peer(&mut self, slices: &[IoSlice<'_>], most: usize) -> io::Result<usize> {
        if self.peer_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = most.min(CAPACITY.saturating_sub(self.to_peer.len()));
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = self.to_peer.len();
        self.to_peer.extend(slices.iter().flat_map(|slice| slice.iter()).take(room));
        Ok(self.to_peer.len() - before)
    }

    /// Whether the hub can write.
    pub(super) fn has_room(&self) -> bool {
        self.to_peer.len() < CAPACITY
    }

    /// The hub reads at most `most` bytes.
    pub(super) fn read_by_hub(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.to_hub.len());
        self.to_hub.drain(..count).collect()
    }

    /// The peer sends a frame.
    pub(super) fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.send_bytes(&bytes);
    }

    /// The peer sends frames.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        if !self.hub_closed {
            self.to_hub.extend(bytes);
        }
    }

    /// The peer reads at most `most` bytes, which are added to `bytes`. Returns false at the end of the connection.
    pub(super) fn read_bytes(&mut self, most: usize, bytes: &mut Vec<u8>) -> bool {
        let count = most.min(self.to_peer.len());
        bytes.extend(self.to_peer.drain(..count));
        !(self.hub_closed && self.to_peer.is_empty())
    }

    /// The peer reads at most `most` bytes, and gets the whole frames. Returns false at the end of the connection.
    pub(super) fn read_by_peer(&mut self, most: usize, mut take: impl FnMut(Frame<'_>)) -> bool {
        let count = most.min(self.to_peer.len());
        self.received.extend(self.to_peer.drain(..count));
        let mut start = 0;
        while let Some((frame, length)) = decode(&self.received[start..], usize::MAX).unwrap() {
            take(frame);
            start += length;
        }
        self.received.drain(..start);
        !(self.hub_closed && self.to_peer.is_empty())
    }
}
