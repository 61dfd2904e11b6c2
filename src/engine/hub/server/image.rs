//! A log as a whole, as frames: for a worker that starts, and for the hub that takes this one's place.

use std::sync::Arc;
use std::time::{Instant, SystemTime};
use std::vec;

use bytes::Bytes;

use super::super::protocol::{self, Frame, Known, PIECE};
use super::tail::Entry;
use crate::channel::{Message, PresentMember, Reset};

/// The frames of a log. They are made when the socket takes them, so that they take no memory before.
#[derive(Debug)]
pub(super) struct Image {
    /// Frames that are made already.
    ready: vec::IntoIter<Bytes>,
    history: vec::IntoIter<Arc<Message>>,
    members: vec::IntoIter<PresentMember>,
    authors: vec::IntoIter<Known>,
    ended: bool,
}

impl Image {
    /// What `begin` and `entries` say, then the log, and then the authors.
    pub(super) fn new(begin: &[Frame<'_>], entries: Vec<Entry>, log: Reset, authors: Vec<Known>) -> Self {
        let mut pieces = Pieces::default();
        begin.iter().for_each(|frame| pieces.add(frame));
        pieces.cut();
        pieces.all.extend(entries.into_iter().map(|entry| entry.bytes));
        let mut floors = Vec::new();
        let mut size = 0;
        for (name, floor) in &log.floors {
            floors.push((*floor, &**name));
            size += name.len() + 10;
            if size >= PIECE {
                pieces.add(&Frame::Floors(std::mem::take(&mut floors)));
                size = 0;
            }
        }
        if !floors.is_empty() {
            pieces.add(&Frame::Floors(floors));
        }
        pieces.add(&Frame::Forgotten { key: log.forgotten.key(), floors: log.forgotten.floors().to_vec() });
        pieces.cut();
        let (ready, history) = (pieces.all.into_iter(), log.history.into_iter());
        let members = log.members.into_iter();
        Image { ready, history, members, authors: authors.into_iter(), ended: false }
    }

    /// The next bytes, whole frames. `None` at the end.
    pub(super) fn next(&mut self, now: (Instant, SystemTime)) -> Option<Bytes> {
        if let Some(bytes) = self.ready.next() {
            return Some(bytes);
        }
        if self.ended {
            return None;
        }
        let mut bytes = Vec::new();
        while bytes.len() < PIECE
            && let Some(message) = self.history.next()
        {
            // It was decoded from bytes of the same format, so it is not too long for it.
            if let Err(error) = protocol::kept(&message, now, &mut bytes) {
                log::error!("a kept message could not be encoded: {error}");
            }
        }
        if bytes.is_empty()
            && let Some(members) = protocol::next_members(&mut self.members)
        {
            members.encode(&mut bytes);
        }
        if bytes.is_empty() {
            let authors: Vec<_> = self.authors.by_ref().take(PIECE / 32).collect();
            if authors.is_empty() {
                self.ended = true;
                Frame::End.encode(&mut bytes);
            } else {
                Frame::Authors(authors).encode(&mut bytes);
            }
        }
        Some(bytes.into())
    }
}

/// Frames in pieces of about [`PIECE`] bytes.
#[derive(Default)]
struct Pieces {
    all: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    fn add(&mut self, frame: &Frame<'_>) {
        frame.encode(&mut self.open);
        if self.open.len() >= PIECE {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if !self.open.is_empty() {
            self.all.push(std::mem::take(&mut self.open).into());
        }
    }
}
