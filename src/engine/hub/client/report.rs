//! What a worker reports to a new hub.

use std::sync::Arc;
use std::time::{Instant, SystemTime};
use std::vec;

use super::super::protocol::{self, Frame, Known, PIECE, Position};
use super::tail::{Content, Recent, Tail};
use crate::channel::{Message, PresentMember, Reset, codec};

/// A report on its way, with what is left of it.
#[derive(Debug)]
pub(super) struct Report {
    head: Option<Frame<'static>>,
    /// The number of the last entry of the tail that is written.
    written: u64,
    floors: vec::IntoIter<(Arc<str>, u64)>,
    forgotten: Option<Frame<'static>>,
    kept: vec::IntoIter<Arc<Message>>,
    members: vec::IntoIter<PresentMember>,
    authors: vec::IntoIter<Known>,
    ended: bool,
}

impl Report {
    /// A report of a worker that stands at `position`. `image` is what its channels keep.
    pub(super) fn new(position: Position, tail: &Tail, image: Reset) -> Self {
        let Reset { forgotten, floors, mut history, members, .. } = image;
        let after = tail.after();
        // The others are in the tail.
        history.retain(|message| message.seq() <= after);
        Report {
            head: Some(Frame::Report { position: Some(position), after }),
            written: after,
            floors: floors.into_iter(),
            forgotten: Some(Frame::Forgotten { key: forgotten.key(), floors: forgotten.floors().to_vec() }),
            kept: history.into_iter(),
            members: members.into_iter(),
            authors: tail.authors().into_iter(),
            ended: false,
        }
    }

    /// A report of a worker that has no log.
    pub(super) fn empty() -> Self {
        Report {
            head: Some(Frame::Report { position: None, after: 0 }),
            written: u64::MAX,
            floors: Vec::new().into_iter(),
            forgotten: None,
            kept: Vec::new().into_iter(),
            members: Vec::new().into_iter(),
            authors: Vec::new().into_iter(),
            ended: false,
        }
    }

    /// Appends the next frame. Returns false if there was none.
    pub(super) fn write(&mut self, tail: &Tail, now: (Instant, SystemTime), out: &mut Vec<u8>) -> bool {
        if let Some(head) = self.head.take() {
            head.encode(out);
        } else if let Some(recent) = tail.next(self.written) {
            self.written = recent.seq;
            write_entry(recent, now, out);
        } else if self.floors.len() > 0 {
            let mut size = 0;
            let piece = std::iter::from_fn(|| {
                let next = if size < PIECE { self.floors.next() } else { None }?;
                size += next.0.len() + size_of::<u64>();
                Some(next)
            });
            let piece: Vec<_> = piece.collect();
            Frame::Floors(piece.iter().map(|(name, floor)| (*floor, &**name)).collect()).encode(out);
        } else if let Some(forgotten) = self.forgotten.take() {
            forgotten.encode(out);
        } else if let Some(message) = self.kept.next() {
            let _ = protocol::kept(&message, now, out);
        } else if let Some(members) = protocol::next_members(&mut self.members) {
            members.encode(out);
        } else if self.authors.len() > 0 {
            Frame::Authors(self.authors.by_ref().take(PIECE / size_of::<Known>()).collect()).encode(out);
        } else if !self.ended {
            self.ended = true;
            Frame::End.encode(out);
        } else {
            return false;
        }
        true
    }
}

fn write_entry(recent: &Recent, now: (Instant, SystemTime), out: &mut Vec<u8>) {
    let Recent { author, count, seq, content } = recent;
    // There is no error: the entry was bytes before.
    match content {
        Content::Message(message) => _ = protocol::message((*author, *count), message, now, out),
        Content::Command(command) => {
            let mut bytes = Vec::new();
            if codec::encode_command(command, &mut bytes).is_ok() {
                Frame::Message { seq: *seq, author: *author, count: *count, message: &bytes }.encode(out);
            }
        }
    }
}
