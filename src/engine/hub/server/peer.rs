//! One peer of the hub: its place in the log, and what waits for its socket.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use super::super::protocol::{Frame, Position};
use super::image::Image;
use super::numbers::Slot;
use super::parcels::Parcels;
use super::report::Report;

/// The number of a connection, which is not used again.
pub type PeerId = u64;

/// Numbered messages of one author in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) count: u64,
    pub(super) seq: u64,
    pub(super) run: u32,
}

impl Run {
    /// The last message's number.
    pub(super) fn last(&self) -> u64 {
        self.seq + u64::from(self.run) - 1
    }
}

/// What a peer is, as the hub's own side of the connection knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A worker, with its process number.
    Worker(u32),
    /// It only publishes.
    Outsider,
    /// The hub whose place this one takes: it sends a report.
    OldHub,
    /// The hub that takes this one's place: it gets a report.
    NewHub,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Worker(process) => write!(f, "the worker with the process number {process}"),
            Kind::Outsider => f.write_str("a process that publishes"),
            Kind::OldHub => f.write_str("the hub before"),
            Kind::NewHub => f.write_str("the next hub"),
        }
    }
}

/// A peer's first frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hello {
    pub(super) author: u128,
    pub(super) settled: u64,
    pub(super) commands: u64,
    pub(super) position: Option<Position>,
}

/// An author that went away, or that was not there when this hub began, and may not know what has become of its messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absent {
    /// The number of its first such message.
    pub(super) oldest: u64,
    /// For so long it may come back.
    pub(super) until: Instant,
    /// The process number, if it is a worker that this hub has known.
    pub(super) process: Option<u32>,
}

/// Bytes that wait for the socket.
#[derive(Debug)]
struct Staged {
    bytes: Bytes,
    /// The worker has the log up to this number when the bytes are written.
    position: Option<u64>,
    /// So many of [`Peer::unanswered`] are answered when the bytes are written.
    answers: usize,
}

/// A worker's place in the log.
#[derive(Debug)]
pub(super) struct Place {
    /// The worker's number in the number store.
    pub(super) slot: Slot,
    /// What was staged for the socket.
    pub(super) staged: u64,
    /// What the socket has taken.
    pub(super) sent: u64,
    /// The log keeps what the worker has not got. False while it is cut off.
    pub(super) attached: bool,
    /// The last [`Frame::Stable`].
    pub(super) stable: u64,
    /// The worker began with a log as a whole, which ended at this number. It has no messages before, only histories.
    pub(super) base: u64,
    /// While it is cut off: the number of its first own message that its socket has not taken.
    pub(super) unseen: Option<u64>,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) hello: Option<Hello>,
    pub(super) welcomed: bool,
    /// The beginning of a frame whose end has not come yet.
    pub(super) input: Vec<u8>,
    /// When bytes came last.
    pub(super) heard: Instant,
    /// The report that the peer is sending.
    pub(super) report: Option<Report>,
    /// Questions that came before the hub could answer.
    pub(super) questions: Vec<u64>,
    /// Frames of the reserved lane.
    pub(super) control: BytesMut,
    pub(super) parcels: Parcels,
    pub(super) image: Option<Image>,
    staged: VecDeque<Staged>,
    staged_bytes: usize,
    /// The socket did not take all bytes.
    pub(super) blocked: bool,
    /// Bytes that the socket has taken since the last look for peers that are stuck.
    pub(super) taken: usize,
    /// How often in a row it looked stuck.
    pub(super) stuck: u32,
    /// A worker that has its place in the log.
    pub(super) place: Option<Place>,
    /// An outsider's messages that have numbers but no answer: the answers may wait for workers or for the socket.
    pub(super) unanswered: VecDeque<Run>,
    /// How many of them are staged for the socket.
    pub(super) answering: usize,
    /// Bytes that the peer may still publish.
    pub(super) credit: i64,
    /// Bytes for which it gets new credit.
    pub(super) owed: usize,
    /// It is on the list of peers that have something to write.
    pub(super) listed: bool,
}

impl Peer {
    pub(super) fn new(kind: Kind, now: Instant) -> Self {
        Peer {
            kind,
            hello: None,
            welcomed: false,
            input: Vec::new(),
            heard: now,
            report: None,
            questions: Vec::new(),
            control: BytesMut::new(),
            parcels: Parcels::default(),
            image: None,
            staged: VecDeque::new(),
            staged_bytes: 0,
            blocked: false,
            taken: 0,
            stuck: 0,
            place: None,
            unanswered: VecDeque::new(),
            answering: 0,
            credit: 0,
            owed: 0,
            listed: false,
        }
    }

    /// Adds a frame to the reserved lane.
    pub(super) fn send(&mut self, frame: &Frame<'_>) {
        self.control.reserve(64);
        frame.encode(&mut self.control);
    }

    /// Whether the peer is a worker that the log keeps messages for.
    pub(super) fn attached(&self) -> Option<&Place> {
        self.place.as_ref().filter(|place| place.attached)
    }

    /// The number of the oldest message of the peer that has no answer yet.
    pub(super) fn oldest_unanswered(&self) -> Option<u64> {
        self.unanswered.front().map(|run| run.seq)
    }

    /// Bytes that are staged.
    pub(super) fn staged_bytes(&self) -> usize {
        self.staged_bytes
    }

    /// Stages bytes of the reserved lane.
    pub(super) fn stage(&mut self, bytes: Bytes) {
        self.put(bytes, None, 0);
    }

    /// Stages bytes after which the worker has the log up to a number.
    pub(super) fn stage_log(&mut self, bytes: Bytes, position: u64) {
        self.put(bytes, Some(position), 0);
    }

    /// Stages answers to so many of [`Peer::unanswered`].
    pub(super) fn stage_answers(&mut self, bytes: Bytes, answers: usize) {
        self.answering += answers;
        self.put(bytes, None, answers);
    }

    fn put(&mut self, bytes: Bytes, position: Option<u64>, answers: usize) {
        self.staged_bytes += bytes.len();
        self.staged.push_back(Staged { bytes, position, answers });
    }

    /// The staged bytes.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.staged.iter().map(|staged| &staged.bytes[..])
    }

    /// The socket has taken `count` bytes.
    pub(super) fn wrote(&mut self, mut count: usize) {
        self.taken += count;
        self.staged_bytes -= count.min(self.staged_bytes);
        while let Some(first) = self.staged.front_mut() {
            if count < first.bytes.len() {
                first.bytes.advance(count);
                return;
            }
            count -= first.bytes.len();
            if let (Some(place), Some(position)) = (&mut self.place, first.position) {
                place.sent = place.sent.max(position);
            }
            self.answering -= first.answers;
            self.unanswered.drain(..first.answers.min(self.unanswered.len()));
            self.staged.pop_front();
        }
    }
}
