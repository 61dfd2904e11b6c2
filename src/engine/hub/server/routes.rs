//! Which connection leads to which worker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::peer::PeerId;
use crate::base::peers::Unreachable;

/// How many workers that have died are remembered.
const DIED: usize = 256;

/// Where the workers are.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// The connections of workers that are welcome, by process number.
    connections: BTreeMap<u32, PeerId>,
    /// The process numbers of workers that the supervisor has connected and that have not ended.
    living: BTreeSet<u32>,
    /// Those that were killed or have crashed, the newest last.
    died: VecDeque<u32>,
}

impl Routes {
    /// These workers are there, or come.
    pub(super) fn expect(&mut self, processes: impl IntoIterator<Item = u32>) {
        self.living.extend(processes);
    }

    /// The worker has this connection now.
    pub(super) fn begin(&mut self, process: u32, id: PeerId) {
        self.connections.insert(process, id);
    }

    /// The worker has ended.
    pub(super) fn end(&mut self, process: u32) {
        self.living.remove(&process);
    }

    /// Why a parcel cannot go to a process that has no connection.
    pub(super) fn absence(&self, process: u32) -> Unreachable {
        if self.living.contains(&process) {
            Unreachable::Away
        } else if self.died.contains(&process) {
            Unreachable::Died
        } else {
            Unreachable::Ended
        }
    }

    /// The worker has ended without a drain.
    pub(super) fn note_death(&mut self, process: u32) {
        if self.died.len() == DIED {
            self.died.pop_front();
        }
        self.died.push_back(process);
    }

    /// The connection of a worker.
    pub(super) fn find(&self, process: u32) -> Option<PeerId> {
        self.connections.get(&process).copied()
    }

    /// A connection has ended. Returns those of the other workers, if it was the present one of this worker.
    pub(super) fn leave(&mut self, process: u32, id: PeerId) -> Vec<PeerId> {
        if self.find(process) != Some(id) {
            return Vec::new();
        }
        self.connections.remove(&process);
        self.connections.values().copied().collect()
    }
}
