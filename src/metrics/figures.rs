//! What there is to tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::stats::Stats;
use crate::base::stats::slots::{SlotOwner, Slots, Snapshot};

/// Where the figures come from. It is asked for each response, by the thread that serves, and must not wait. `None`: they
/// cannot be read.
pub type Source = Arc<dyn Fn() -> Option<Figures> + Send + Sync>;

/// What a server has counted.
#[derive(Debug, Default)]
pub struct Figures {
    /// All processes together; those that have ended, too.
    pub sum: Stats,
    /// The workers that run. During a restart, two of them may have the same number. `None`: the server is a single process.
    pub workers: Option<Vec<WorkerFigures>>,
}

/// What one worker has counted.
#[derive(Debug, Default)]
pub struct WorkerFigures {
    /// Its number, which its successor has, too.
    pub number: u32,
    /// The number of its process, which no other one has.
    pub process: u32,
    /// Its pid; 0 until it counts.
    pub pid: u32,
    /// What it has counted.
    pub stats: Stats,
}

impl Figures {
    /// Those of a server in a single process.
    pub fn of_process(stats: &Stats) -> Self {
        Figures { sum: copy(stats), workers: None }
    }

    /// Those of a server with workers.
    pub fn of_slots(slots: &Slots) -> Self {
        let Snapshot { sum, workers } = slots.snapshot();
        let named = |(owner, stats): (SlotOwner, Stats)| WorkerFigures {
            number: owner.worker,
            process: owner.process,
            pid: owner.pid,
            stats,
        };
        Figures { sum, workers: Some(workers.into_iter().map(named).collect()) }
    }

    /// What the workers have counted, by their numbers.
    pub(super) fn by_number(&self) -> Option<BTreeMap<u32, Stats>> {
        let mut sums = BTreeMap::<u32, Stats>::new();
        let workers = self.workers.as_ref()?;
        workers.iter().for_each(|worker| sums.entry(worker.number).or_default().merge(&worker.stats, true));
        Some(sums)
    }
}

fn copy(stats: &Stats) -> Stats {
    let copy = Stats::default();
    copy.merge(stats, true);
    copy
}
