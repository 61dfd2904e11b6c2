//! Polls of other processes, for sessions of this one.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::wire::{Piece, Said};
use crate::base::in_flight::InFlightGuard;
use crate::base::peers::Parcel;

/// Bytes of a piece of an answer.
const PIECE: usize = 64 << 10;

/// Bytes of pieces that are underway to one process. It says when it has taken them. So what waits for it anywhere has a
/// bound, and an answer need not fit into that.
const WINDOW: usize = 256 << 10;

/// The polls of other processes, and the answers that are underway to them.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// By the process that has the poll, and its number there.
    polls: HashMap<(u32, u64), Waiting>,
    lanes: HashMap<u32, Lane>,
}

/// A poll that waits for its answer. Dropping it ends the task that waits.
#[derive(Debug)]
struct Waiting(AbortHandle);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answers to the polls of one process.
#[derive(Debug, Default)]
struct Lane {
    answers: VecDeque<Answer>,
    underway: usize,
}

/// An answer, as far as it was not sent.
#[derive(Debug)]
struct Answer {
    id: u64,
    offset: u64,
    rest: Bytes,
    hold: Option<InFlightGuard>,
}

impl Served {
    /// The session of this poll has accepted it. `task` waits for the answer.
    pub(super) fn add(&mut self, from: u32, id: u64, task: AbortHandle) {
        self.polls.insert((from, id), Waiting(task));
    }

    /// There is the answer to a poll. A drain waits for `hold` until the answer was sent.
    pub(super) fn answer(&mut self, from: u32, id: u64, body: Bytes, hold: InFlightGuard) {
        if self.polls.remove(&(from, id)).is_some() {
            let answer = Answer { id, offset: 0, rest: body, hold: Some(hold) };
            self.lanes.entry(from).or_default().answers.push_back(answer);
        }
    }

    /// Nobody wants the answer to a poll any more.
    pub(super) fn cancel(&mut self, from: u32, id: u64) {
        self.polls.remove(&(from, id));
        if let Some(lane) = self.lanes.get_mut(&from) {
            lane.answers.retain(|answer| answer.id != id);
        }
    }

    /// So many bytes of pieces are no longer underway.
    pub(super) fn arrived(&mut self, process: u32, bytes: usize) {
        if let Some(lane) = self.lanes.get_mut(&process) {
            lane.underway = lane.underway.saturating_sub(bytes);
        }
    }

    /// The next piece for a process. `mark` makes the parcel's number of the poll's.
    pub(super) fn next(&mut self, process: u32, mark: impl Fn(u64) -> u64) -> Option<Parcel> {
        let lane = self.lanes.get_mut(&process)?;
        if lane.underway >= WINDOW {
            return None;
        }
        let Some(answer) = lane.answers.front_mut() else {
            if lane.underway == 0 {
                self.lanes.remove(&process);
            }
            return None;
        };
        let bytes = answer.rest.split_to(answer.rest.len().min(PIECE));
        let (id, last) = (answer.id, answer.rest.is_empty());
        let offset = answer.offset;
        answer.offset += bytes.len() as u64;
        let payload = Said::Piece(Piece { offset, last, bytes }).encode();
        lane.underway += payload.len();
        let hold = if last { lane.answers.pop_front().and_then(|answer| answer.hold) } else { None };
        Some(Parcel { to: process, id: mark(id), payload, hold })
    }

    /// What was underway from or to this process is lost.
    pub(super) fn parted(&mut self, process: u32) {
        self.polls.retain(|(from, _), _| *from != process);
        self.lanes.remove(&process);
    }

    /// What was underway from or to any process is lost.
    pub(super) fn lost(&mut self) {
        *self = Served::default();
    }

    /// How many polls wait, and how many answers are underway.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> usize {
        self.polls.len() + self.lanes.values().map(|lane| lane.answers.len()).sum::<usize>()
    }
}
