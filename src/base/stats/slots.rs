//! The counters of several processes, in memory that they share and that outlives each of them.
//!
//! ```text
//! header   the layout, how many slots, a number that is odd while a slot is being moved, the highest slot so far
//! slot 0   what the processes counted that have ended, and what the supervisor and the hub count themselves
//! slot 1 … the process's number (0: the slot is free), the worker's number, the pid; what it has counted
//! ```
//!
//! The supervisor gives slots to processes and moves what an ended process has counted to slot 0. A process counts in its own
//! slot. Anybody may read.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::histogram::BOUNDS;
use super::{NUMBERS, Stats};
use crate::base::shared_memory::SharedMemory;

/// The version of what this file says.
const VERSION: u64 = 1;

/// What tells layouts apart: two versions of push_server do not read each other's slots if a number has another name, place
/// or kind. FNV-1a, and never 0.
const LAYOUT: u64 = {
    let mut hash = fold(0xcbf2_9ce4_8422_2325, VERSION);
    let mut row = 0;
    while row < Stats::TABLE.len() {
        hash = fold(fold_name(hash, Stats::TABLE[row].name), Stats::TABLE[row].kind as u64);
        row += 1;
    }
    let mut histogram = 0;
    while histogram < Stats::HISTOGRAMS.len() {
        hash = fold_name(hash, Stats::HISTOGRAMS[histogram].0);
        histogram += 1;
    }
    let mut bound = 0;
    while bound < BOUNDS.len() {
        hash = fold(hash, BOUNDS[bound]);
        bound += 1;
    }
    hash | 1
};

const fn fold(hash: u64, number: u64) -> u64 {
    (hash ^ number).wrapping_mul(0x0100_0000_01b3)
}

const fn fold_name(mut hash: u64, name: &str) -> u64 {
    let mut index = 0;
    while index < name.len() {
        hash = fold(hash, name.as_bytes()[index] as u64);
        index += 1;
    }
    // So that a letter cannot move from one name to the next.
    fold(hash, 0x100)
}

/// Numbers of the header, and those of a slot before what it has counted. A cache line each, so that two processes never
/// write to the same one.
const HEADER: usize = 8;
const OWNER: usize = 8;

/// Numbers of a slot, a multiple of a cache line.
const SLOT: usize = (OWNER + NUMBERS).next_multiple_of(8);

// Places in the header.
const LAYOUT_AT: usize = 0;
const SLOTS_AT: usize = 1;
const MOVING_AT: usize = 2;
const HIGHEST_AT: usize = 3;

// Places in a slot.
const PROCESS_AT: usize = 0;
const WORKER_AT: usize = 1;
const PID_AT: usize = 2;

/// How often a reader looks again while a slot is being moved: this takes microseconds, unless its process was killed.
const ATTEMPTS: usize = 1000;

/// The counters of several processes.
#[derive(Debug)]
pub struct Slots {
    memory: SharedMemory,
    slots: usize,
}

/// A process that has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotOwner {
    /// The slot's number.
    pub slot: usize,
    /// The process's number: see [`crate::channel::Engine::process`].
    pub process: u32,
    /// The worker's number, which its successors have too.
    pub worker: u32,
    /// 0 until the process counts there.
    pub pid: u32,
}

/// What all processes together have counted, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// What all have counted, those too that have ended, and the supervisor itself.
    pub sum: Stats,
    /// The processes that count, and what each of them has counted.
    pub workers: Vec<(SlotOwner, Stats)>,
}

impl Slots {
    /// Bytes of memory for so many processes.
    pub const fn size(processes: usize) -> usize {
        (HEADER + (processes + 1) * SLOT) * size_of::<AtomicU64>()
    }

    /// The slots in a memory file with [`Slots::size`] bytes. A file that is all 0 becomes an empty table.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the file is too short. `InvalidData`: it has another layout. Others: it cannot be mapped.
    pub fn open(file: impl AsFd, processes: usize) -> io::Result<Self> {
        let memory = SharedMemory::map(file, Self::size(processes) / size_of::<AtomicU64>())?;
        let slots = processes + 1;
        if memory[LAYOUT_AT].load(Ordering::Acquire) == 0 {
            memory[SLOTS_AT].store(slots as u64, Ordering::Relaxed);
            memory[LAYOUT_AT].store(LAYOUT, Ordering::Release);
        }
        let layout = (memory[LAYOUT_AT].load(Ordering::Acquire), memory[SLOTS_AT].load(Ordering::Relaxed));
        if layout != (LAYOUT, slots as u64) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the statistics are those of another version of push_server",
            ));
        }
        Ok(Slots { memory, slots })
    }

    /// What the slot with this number has counted. `None` if there is no such slot.
    pub fn stats(&self, number: usize) -> Option<&Stats> {
        Stats::over(self.slot(number)?.get(OWNER..)?)
    }

    fn slot(&self, number: usize) -> Option<&[AtomicU64]> {
        let start = HEADER + (number < self.slots).then_some(number)? * SLOT;
        self.memory.get(start..start + SLOT)
    }

    // ---- the supervisor --------------------------------------------------------------------

    /// Gives a process a slot. Returns its number, or `None` if there is no free one. Not for several threads at once, nor
    /// several processes.
    pub fn take(&self, process: u32, worker: u32) -> Option<usize> {
        let number = (1..self.slots).find(|number| self.owner(*number).is_none())?;
        let slot = self.slot(number)?;
        // A process that was given up may have counted on until it was dead.
        self.stats(number)?.clear();
        slot[WORKER_AT].store(worker.into(), Ordering::Relaxed);
        slot[PID_AT].store(0, Ordering::Relaxed);
        slot[PROCESS_AT].store(process.into(), Ordering::Release);
        self.memory[HIGHEST_AT].fetch_max(number as u64, Ordering::AcqRel);
        Some(number)
    }

    /// The process has ended: what it has counted stays, and its slot is free. Not for several threads at once, nor several
    /// processes.
    pub fn release(&self, process: u32) {
        for SlotOwner { slot: number, .. } in self.owners().into_iter().filter(|owner| owner.process == process) {
            let (Some(slot), Some(stats), Some(ended)) = (self.slot(number), self.stats(number), self.stats(0)) else {
                continue;
            };
            // Odd. A supervisor that was killed here has left it odd.
            self.memory[MOVING_AT].fetch_or(1, Ordering::Relaxed);
            // A reader that sees any of what follows sees the odd number, too.
            fence(Ordering::Release);
            ended.merge(stats, false);
            stats.clear();
            slot[PROCESS_AT].store(0, Ordering::Relaxed);
            self.memory[MOVING_AT].fetch_add(1, Ordering::Release);
        }
    }

    // ---- a process that counts -------------------------------------------------------------

    /// This process counts in its slot from now on. Returns the slot's number, or `None` if it has none.
    pub fn enter(&self, process: u32) -> Option<usize> {
        let owner = self.owners().into_iter().find(|owner| owner.process == process)?;
        self.slot(owner.slot)?[PID_AT].store(std::process::id().into(), Ordering::Relaxed);
        Some(owner.slot)
    }

    // ---- readers ---------------------------------------------------------------------------

    fn owner(&self, slot: usize) -> Option<SlotOwner> {
        let numbers = self.slot(slot)?;
        let process = numbers[PROCESS_AT].load(Ordering::Acquire) as u32;
        let [worker, pid] = [WORKER_AT, PID_AT].map(|place| numbers[place].load(Ordering::Relaxed) as u32);
        (process != 0).then_some(SlotOwner { slot, process, worker, pid })
    }

    /// The processes that have a slot.
    pub fn owners(&self) -> Vec<SlotOwner> {
        // No further: the pages behind the highest slot take no memory until somebody looks at them.
        let highest = self.memory[HIGHEST_AT].load(Ordering::Acquire) as usize;
        (1..=highest).filter_map(|slot| self.owner(slot)).collect()
    }

    /// What all have counted, all together and each. The sum has also those that have ended, so no counter in it is lower
    /// than in a call before.
    pub fn snapshot(&self) -> Snapshot {
        for _ in 0..ATTEMPTS {
            let before = self.memory[MOVING_AT].load(Ordering::Acquire);
            let snapshot = self.look();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.memory[MOVING_AT].load(Ordering::Relaxed) == before {
                return snapshot;
            }
            std::thread::yield_now();
        }
        self.look()
    }

    fn look(&self) -> Snapshot {
        let copy = |slot: usize| {
            let copy = Stats::default();
            self.stats(slot).into_iter().for_each(|stats| copy.merge(stats, true));
            copy
        };
        let sum = copy(0);
        let counting = self.owners().into_iter().filter(|owner| owner.pid != 0);
        let workers: Vec<_> = counting.map(|owner| (owner, copy(owner.slot))).collect();
        workers.iter().for_each(|(_, stats)| sum.merge(stats, true));
        Snapshot { sum, workers }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn slots(processes: usize) -> (std::fs::File, Slots) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(Slots::size(processes) as u64).unwrap();
        let slots = Slots::open(&file, processes).unwrap();
        (file, slots)
    }

    #[test]
    fn counters_outlive_their_process_and_gauges_do_not() {
        let (file, supervisor) = slots(2);
        let worker = Slots::open(&file, 2).unwrap();
        let [one, other] = [7, 8].map(|process| supervisor.take(process, process - 6).unwrap());
        assert_eq!((one, other, supervisor.take(9, 3)), (1, 2, None));
        assert!(supervisor.snapshot().workers.is_empty(), "nobody counts yet");
        assert_eq!((worker.enter(7), worker.enter(8), worker.enter(9)), (Some(one), Some(other), None));
        for (slot, count) in [(one, 5), (other, 3)] {
            let stats = worker.stats(slot).unwrap();
            stats.requests.add_many(count);
            stats.open_connections.add_many(count);
        }
        supervisor.stats(0).unwrap().worker_restarts.add();
        let sums = || {
            let Snapshot { sum, .. } = supervisor.snapshot();
            [sum.requests.get(), sum.open_connections.get(), sum.worker_restarts.get()]
        };
        let counted = || {
            let each = supervisor.snapshot().workers;
            each.iter().map(|(owner, stats)| (owner.worker, stats.requests.get())).collect::<Vec<_>>()
        };
        assert_eq!((sums(), counted()), ([8, 8, 1], vec![(1, 5), (2, 3)]));
        supervisor.release(7);
        assert_eq!((sums(), counted()), ([8, 3, 1], vec![(2, 3)]));
        let pid = std::process::id();
        assert_eq!(supervisor.owners(), [SlotOwner { slot: 2, process: 8, worker: 2, pid }]);
        // The slot is free, and empty, even if the process lived on for a moment.
        worker.stats(one).unwrap().requests.add();
        assert_eq!(supervisor.take(9, 1), Some(1));
        assert_eq!((supervisor.stats(1).unwrap().requests.get(), sums()), (0, [8, 3, 1]));
        // Another supervisor goes on.
        drop(supervisor);
        assert_eq!(Slots::open(&file, 2).unwrap().snapshot().sum.requests.get(), 8);
    }

    #[test]
    fn memory_of_another_layout_is_refused() {
        let (file, slots) = slots(2);
        assert_eq!(Slots::open(&file, 3).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        slots.memory[LAYOUT_AT].store(7, Ordering::Relaxed);
        assert_eq!(Slots::open(&file, 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn sums_never_go_down_while_processes_end() {
        let (_file, slots) = slots(4);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for process in 1..20_000 {
                    let slot = slots.take(process, 1).and_then(|_| slots.enter(process)).unwrap();
                    slots.stats(slot).unwrap().requests.add();
                    slots.release(process);
                }
                ended.store(true, Ordering::Release);
            });
            let mut last = 0;
            while !ended.load(Ordering::Acquire) {
                let sum = slots.snapshot().sum.requests.get();
                assert!(sum >= last, "{sum} after {last}");
                last = sum;
            }
        });
        assert_eq!(slots.snapshot().sum.requests.get(), 19_999);
    }
}
