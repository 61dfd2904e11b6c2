//! Parcels that wait for one worker.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::super::protocol::Frame;

/// Bytes of parcels that wait for one worker.
const WAITING: usize = 8 << 20;

/// The parcels that wait for a peer's socket.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Parcels {
    pub(super) fn push(&mut self, frame: &Frame<'_>) {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.bytes += bytes.len();
        self.frames.push_back(bytes.freeze());
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= WAITING
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}
