//! The counters of several processes, in memory that they share and that outlives each of them.
//!
//! ```text
//! header   layout's version, how many slots, a number that is odd while a slot is being moved
//! slot 0   what the processes counted that have ended
//! slot 1 … the process's number (0: the slot is free), the worker's number; what it has counted
//! ```
//!
//! The supervisor gives slots to processes and moves what an ended process has counted to slot 0. A process counts in its own
//! slot. Anybody may read.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{NUMBERS, Stats};
use crate::base::shared_memory::SharedMemory;

/// The version of the layout, and how long a slot is: two versions of push_server that differ in either do not read each
/// other's slots.
const LAYOUT: u64 = 1 << 32 | NUMBERS as u64;

/// Numbers of the header, and those of a slot before what it has counted. A cache line each, so that two processes never
/// write to the same one.
const HEADER: usize = 8;
const OWNER: usize = 8;

/// Numbers of a slot, a multiple of a cache line.
const SLOT: usize = (OWNER + NUMBERS).next_multiple_of(8);

const VERSION: usize = 0;
const SLOTS: usize = 1;
const MOVING: usize = 2;

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
        if memory[VERSION].load(Ordering::Acquire) == 0 {
            memory[SLOTS].store(slots as u64, Ordering::Relaxed);
            memory[VERSION].store(LAYOUT, Ordering::Release);
        }
        let layout = (memory[VERSION].load(Ordering::Acquire), memory[SLOTS].load(Ordering::Relaxed));
        if layout != (LAYOUT, slots as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the statistics of another version"));
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
        slot[1].store(worker.into(), Ordering::Relaxed);
        slot[0].store(process.into(), Ordering::Release);
        Some(number)
    }

    /// The process has ended: what it has counted stays, and its slot is free. Not for several threads at once, nor several
    /// processes.
    pub fn release(&self, process: u32) {
        let numbers = 1..self.slots;
        let own = numbers.filter(|number| self.owner(*number).is_some_and(|owner| owner.process == process));
        for number in own.collect::<Vec<_>>() {
            let (Some(slot), Some(stats), Some(ended)) = (self.slot(number), self.stats(number), self.stats(0)) else {
                continue;
            };
            // Odd. A supervisor that was killed here has left it odd.
            self.memory[MOVING].fetch_or(1, Ordering::AcqRel);
            ended.merge(stats, false);
            stats.clear();
            slot[0].store(0, Ordering::Relaxed);
            self.memory[MOVING].fetch_add(1, Ordering::Release);
        }
    }

    // ---- readers ---------------------------------------------------------------------------

    fn owner(&self, slot: usize) -> Option<SlotOwner> {
        let numbers = self.slot(slot)?;
        let process = numbers[0].load(Ordering::Acquire) as u32;
        (process != 0).then(|| SlotOwner { slot, process, worker: numbers[1].load(Ordering::Relaxed) as u32 })
    }

    /// The processes that have a slot.
    pub fn owners(&self) -> Vec<SlotOwner> {
        (1..self.slots).filter_map(|slot| self.owner(slot)).collect()
    }

    /// What all have counted, those too that have ended. No counter is lower than in a call before.
    pub fn sum(&self) -> Stats {
        for _ in 0..ATTEMPTS {
            let before = self.memory[MOVING].load(Ordering::Acquire);
            let sum = self.add_up();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.memory[MOVING].load(Ordering::Relaxed) == before {
                return sum;
            }
            std::thread::yield_now();
        }
        self.add_up()
    }

    fn add_up(&self) -> Stats {
        let sum = Stats::default();
        for slot in 0..self.slots {
            if slot == 0 || self.owner(slot).is_some() {
                self.stats(slot).into_iter().for_each(|stats| sum.merge(stats, true));
            }
        }
        sum
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
        for (slot, count) in [(one, 5), (other, 3)] {
            let stats = worker.stats(slot).unwrap();
            stats.requests.add_many(count);
            stats.open_connections.add_many(count);
        }
        let sums = || [supervisor.sum().requests.get(), supervisor.sum().open_connections.get()];
        assert_eq!(sums(), [8, 8]);
        supervisor.release(7);
        assert_eq!(sums(), [8, 3]);
        assert_eq!(supervisor.owners(), [SlotOwner { slot: 2, process: 8, worker: 2 }]);
        // The slot is free, and empty.
        assert_eq!(supervisor.take(9, 1), Some(1));
        assert_eq!((supervisor.stats(1).unwrap().requests.get(), sums()), (0, [8, 3]));
        // Another supervisor goes on.
        drop(supervisor);
        assert_eq!(Slots::open(&file, 2).unwrap().sum().requests.get(), 8);
    }

    #[test]
    fn memory_of_another_layout_is_refused() {
        let (file, slots) = slots(2);
        assert_eq!(Slots::open(&file, 3).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        slots.memory[VERSION].store(7, Ordering::Relaxed);
        assert_eq!(Slots::open(&file, 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn sums_never_go_down_while_processes_end() {
        let (_file, slots) = slots(4);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for process in 1..20_000 {
                    let slot = slots.take(process, 1).unwrap();
                    slots.stats(slot).unwrap().requests.add();
                    slots.release(process);
                }
                ended.store(true, Ordering::Release);
            });
            let mut last = 0;
            while !ended.load(Ordering::Acquire) {
                let sum = slots.sum().requests.get();
                assert!(sum >= last, "{sum} after {last}");
                last = sum;
            }
        });
        assert_eq!(slots.sum().requests.get(), 19_999);
    }
}
