//! A network between the processes of a test, in place of the hub.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::router::PIECE;
use crate::base::lock::Lock;
use crate::base::peers::{Parcel, PeerEvent, Peers, Unreachable};
use crate::base::wakeups::RemoteWaker;

/// What happens to the network.
pub(super) enum Fault {
    /// All connections are lost.
    Lost,
    /// The connection of this process is lost, and it gets another one.
    Parted(u32),
    /// This process has ended.
    Ended(u32, Unreachable),
}

#[derive(Default)]
pub(super) struct Net(Lock<State>);

#[derive(Default)]
struct State {
    processes: BTreeMap<u32, Inbox>,
    ended: BTreeMap<u32, Unreachable>,
    /// For these processes nothing is delivered.
    held: BTreeSet<u32>,
    holds_all: bool,
    /// So many pieces are still delivered to the process.
    pieces: Option<(u32, usize)>,
    underway: VecDeque<(u32, Parcel)>,
    most: usize,
}

#[derive(Default)]
struct Inbox {
    events: Vec<PeerEvent>,
    task: Option<Arc<RemoteWaker>>,
}

/// The way of one process.
pub(super) struct Way {
    pub(super) net: Arc<Net>,
    pub(super) process: u32,
}

impl Net {
    pub(super) fn way(self: &Arc<Self>, process: u32) -> Arc<dyn Peers> {
        self.0.lock().processes.insert(process, Inbox::default());
        Arc::new(Way { net: Arc::clone(self), process })
    }

    /// Whether nothing is delivered to a process.
    pub(super) fn hold(&self, process: u32, holds: bool) {
        let mut state = self.0.lock();
        _ = if holds { state.held.insert(process) } else { state.held.remove(&process) };
    }

    pub(super) fn hold_all(&self, holds: bool) {
        self.0.lock().holds_all = holds;
    }

    /// Delivers only so many pieces to a process.
    pub(super) fn hold_pieces_after(&self, process: u32, count: usize) {
        self.0.lock().pieces = Some((process, count));
    }

    pub(super) fn has_held_pieces(&self) -> bool {
        let state = self.0.lock();
        state.pieces.is_some_and(|(_, left)| left == 0) && state.underway.iter().any(|(_, parcel)| is_piece(parcel))
    }

    /// Delivers everything again.
    pub(super) fn release(&self) {
        let mut state = self.0.lock();
        (state.holds_all, state.pieces) = (false, None);
        state.held.clear();
    }

    /// The most bytes that were underway at once.
    pub(super) fn most_underway(&self) -> usize {
        self.0.lock().most
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().underway.is_empty()
    }

    pub(super) fn happen(&self, fault: Fault) {
        let mut state = self.0.lock();
        match fault {
            Fault::Lost => {
                state.underway.clear();
                state.processes.values_mut().for_each(|inbox| inbox.add(PeerEvent::Lost));
            }
            Fault::Parted(process) | Fault::Ended(process, _) => {
                state.underway.retain(|(from, parcel)| *from != process && parcel.to != process);
                for (number, inbox) in &mut state.processes {
                    inbox.add(if *number == process { PeerEvent::Lost } else { PeerEvent::Parted { process } });
                }
            }
        }
        if let Fault::Ended(process, why) = fault {
            state.processes.remove(&process);
            state.ended.insert(process, why);
        }
    }

    /// Delivers what is underway.
    pub(super) fn deliver(&self) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        let bytes = state.underway.iter().map(|(_, parcel)| parcel.payload.len()).sum();
        state.most = state.most.max(bytes);
        let mut held = state.held.clone();
        for (from, parcel) in std::mem::take(&mut state.underway) {
            let pieces = state.pieces.as_mut().filter(|(to, _)| *to == parcel.to && is_piece(&parcel));
            if let Some((to, left)) = pieces {
                // What comes behind a held piece is held, too.
                if *left == 0 {
                    held.insert(*to);
                } else {
                    *left -= 1;
                }
            }
            if state.holds_all || held.contains(&parcel.to) {
                state.underway.push_back((from, parcel));
            } else if let Some(inbox) = state.processes.get_mut(&parcel.to) {
                inbox.add(PeerEvent::Parcel { from, id: parcel.id, payload: parcel.payload });
            } else if let Some(sender) = state.processes.get_mut(&from) {
                let why = state.ended.get(&parcel.to).copied().unwrap_or(Unreachable::Ended);
                let Parcel { to, id, payload, .. } = parcel;
                sender.add(PeerEvent::Unreachable { to, id, length: payload.len() as u32, why });
            }
        }
    }
}

impl Inbox {
    fn add(&mut self, event: PeerEvent) {
        if let Some(task) = &self.task {
            self.events.push(event);
            task.wake();
        }
    }
}

impl Peers for Way {
    fn send(&self, parcel: Parcel) -> bool {
        let mut state = self.net.0.lock();
        if state.processes.contains_key(&self.process) {
            state.underway.push_back((self.process, parcel));
        }
        true
    }

    fn listen(&self, task: Option<Arc<RemoteWaker>>) {
        if let Some(inbox) = self.net.0.lock().processes.get_mut(&self.process) {
            inbox.task = task;
        }
    }

    fn take(&self, events: &mut Vec<PeerEvent>) {
        if let Some(inbox) = self.net.0.lock().processes.get_mut(&self.process) {
            events.append(&mut inbox.events);
        }
    }
}

fn is_piece(parcel: &Parcel) -> bool {
    parcel.id & PIECE == PIECE
}
