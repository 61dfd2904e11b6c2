//! Which task gets what comes from other processes, and the parcels to them.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::heard::Heard;
use super::served::Served;
use super::wire::Said;
use crate::base::fork::OwnerProcess;
use crate::base::lock::Lock;
use crate::base::peers::{Parcel, Peers};

/// Set in the number of a parcel that answers a question. The rest is the number of the question at the other process,
/// which is not to be confused with those of this one.
pub(super) const REPLY: u64 = 1 << 63;

/// Set, too, if the parcel is a piece of an answer.
pub(super) const PIECE: u64 = REPLY | 1 << 62;

/// Bytes of pieces after which the sender is told that they were taken.
const TOLD: usize = 64 << 10;

/// Any thread may send. The rest is for tasks of the reactor.
pub(super) struct Router {
    peers: Arc<dyn Peers>,
    owner: OwnerProcess,
    state: Lock<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    last: u64,
    /// The polls of this process, by their numbers, each with the process of its session.
    asked: HashMap<u64, (u32, UnboundedSender<Heard>)>,
    pub(super) served: Served,
    /// Bytes of pieces of each process that it does not know to be taken.
    taken: HashMap<u32, usize>,
}

#[cfg(test)]
impl State {
    pub(super) fn sizes(&self) -> usize {
        self.asked.len() + self.served.sizes()
    }
}

impl Router {
    pub(super) fn new(peers: Arc<dyn Peers>, owner: OwnerProcess) -> Arc<Self> {
        Arc::new(Router { peers, owner, state: Lock::default() })
    }

    pub(super) fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Sends something. Returns false if it is lost. Any thread.
    pub(super) fn send(&self, to: u32, id: u64, said: &Said) -> bool {
        !self.owner.forked() && self.peers.send(Parcel { to, id, payload: said.encode(), hold: None })
    }

    /// A number for a poll, and how it hears of its session in `process`.
    pub(super) fn remember(&self, process: u32) -> (u64, UnboundedReceiver<Heard>) {
        let (sender, receiver) = unbounded_channel();
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.asked.insert(id, (process, sender));
        (id, receiver)
    }

    /// The poll has ended.
    pub(super) fn forget(&self, id: u64) {
        self.state().asked.remove(&id);
    }

    /// Tells a poll. Returns false if there is no such poll of a session in `process`.
    pub(super) fn tell(&self, process: u32, id: u64, heard: Heard) -> bool {
        let state = self.state();
        let poll = state.asked.get(&id).filter(|(other, _)| *other == process);
        poll.is_some_and(|(_, poll)| poll.send(heard).is_ok())
    }

    /// Tells all polls, or those whose sessions are in `process`.
    pub(super) fn tell_all(&self, process: Option<u32>, heard: impl Fn() -> Heard) {
        let state = self.state();
        let polls = state.asked.values().filter(|(other, _)| process.is_none_or(|process| *other == process));
        polls.for_each(|(_, poll)| _ = poll.send(heard()));
    }

    /// Pieces of this process have come.
    pub(super) fn took(&self, process: u32, bytes: usize) {
        let mut state = self.state();
        let taken = state.taken.entry(process).or_default();
        *taken += bytes;
        if *taken >= TOLD {
            state.taken.remove(&process).into_iter().for_each(|taken| {
                self.send(process, 0, &Said::Took(u32::try_from(taken).unwrap_or(u32::MAX)));
            });
        }
    }

    /// Sends the pieces of answers for a process that may be underway.
    pub(super) fn send_pieces(&self, process: u32) {
        let mut state = self.state();
        while let Some(parcel) = state.served.next(process, |id| id | PIECE) {
            let (id, length) = (parcel.id & !PIECE, parcel.payload.len());
            if !self.peers.send(parcel) {
                state.served.arrived(process, length);
                state.served.cancel(process, id);
            }
        }
    }

    /// What was underway is lost: from and to `process`, or all processes.
    pub(super) fn parted(&self, process: Option<u32>) {
        let mut state = self.state();
        match process {
            Some(process) => {
                state.taken.remove(&process);
                state.served.parted(process);
            }
            None => {
                state.taken.clear();
                state.served.lost();
            }
        }
        drop(state);
        self.tell_all(process, || Heard::Parted);
    }
}
