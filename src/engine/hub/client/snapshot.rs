//! A log that the hub sends as a whole, piece by piece.

use std::sync::Arc;

use super::super::protocol::{Known, Position};
use crate::channel::{Epoch, Forgotten, Message, PresentMember, Reset};

/// The pieces that have come.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Where the log ends.
    pub(super) position: Position,
    /// The client's position in the same epoch, behind which the log begins; 0: the log has nothing to do with what the
    /// client has.
    pub(super) since: u64,
    pub(super) floors: Vec<(Arc<str>, u64)>,
    pub(super) forgotten: Option<Forgotten>,
    pub(super) kept: Vec<Arc<Message>>,
    pub(super) members: Vec<PresentMember>,
    pub(super) authors: Vec<Known>,
}

impl Snapshot {
    /// A log of which nothing has come.
    pub(super) fn new(position: Position, since: u64) -> Self {
        let (floors, kept, members, authors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Snapshot { position, since, floors, forgotten: None, kept, members, authors }
    }

    /// The log, and the authors whose messages are not stable.
    pub(super) fn finish(self) -> (Reset, Vec<Known>) {
        let Position { epoch, last } = self.position;
        // Without floors nothing of the past can be had.
        let forgotten = self.forgotten.unwrap_or_else(|| Forgotten::all(last));
        let reset = Reset {
            epoch: Epoch::from(epoch),
            last,
            forgotten,
            floors: self.floors,
            history: self.kept,
            members: self.members,
        };
        (reset, self.authors)
    }
}
