//! The number store: what the next hub must know of this one, in memory that outlives the hub.
//!
//! The supervisor makes the memory and gives it to each hub in turn. It says which numbers may be in use, and which
//! numbers each worker may have seen. A hub stores that before it sends a message. So a new hub uses no number twice, and
//! it knows whether messages were lost that a client may have got.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::shared_memory::SharedMemory;
use crate::channel::Epoch;

/// Names the layout of the numbers below. Another layout gets another number.
const LAYOUT: u64 = 0x5053_4e55_4d00_0001;

const COUNT: usize = NumberStore::SIZE / size_of::<u64>();

// The first numbers. Behind them are two for each attached worker: its process plus 1, and the number up to which it may
// have seen messages.
const LAYOUT_AT: usize = 0;
const EPOCH: usize = 1;
const LAST: usize = 2;
/// The number up to which workers may have seen messages that are gone by now.
const GONE: usize = 3;
const WORKERS: usize = 8;

/// Where a worker's numbers are in the store. `None`: the store is full.
pub type Slot = Option<usize>;

/// The number store. A clone is the same store.
#[derive(Debug, Clone)]
pub struct NumberStore(Arc<SharedMemory>);

impl NumberStore {
    /// Bytes of the memory.
    pub const SIZE: usize = 4096;

    /// The store in a memory file of [`NumberStore::SIZE`] bytes, which was all zeros at first.
    pub fn map(file: impl AsFd) -> io::Result<Self> {
        SharedMemory::map(file, COUNT).map(|memory| NumberStore(Arc::new(memory)))
    }

    /// A store that only this process and its children have.
    pub fn anonymous() -> io::Result<Self> {
        SharedMemory::anonymous(COUNT).map(|memory| NumberStore(Arc::new(memory)))
    }

    /// The epoch, if a hub of this layout has used the store.
    pub fn epoch(&self) -> Option<Epoch> {
        (self.get(LAYOUT_AT) == LAYOUT).then(|| Epoch::from(self.get(EPOCH)))
    }

    /// The highest number that may be in use. Numbers rise from epoch to epoch, too.
    pub fn last(&self) -> u64 {
        self.get(LAST)
    }

    /// Begins an epoch: no worker has seen anything.
    pub(super) fn begin(&self, epoch: Epoch, last: u64) {
        self.set(LAST, last);
        self.set(EPOCH, epoch.into());
        self.set(GONE, 0);
        self.clear();
        self.set(LAYOUT_AT, LAYOUT);
    }

    /// Numbers up to `last` are in use from now on.
    pub(super) fn use_up_to(&self, last: u64) {
        self.set(LAST, last);
    }

    /// The highest number that may have been seen by workers other than these processes.
    pub(super) fn seen_by_others(&self, processes: &BTreeSet<u32>) -> u64 {
        let others = self.workers().filter(|(process, _)| !processes.contains(process)).map(|(_, seen)| seen);
        others.max().unwrap_or(0).max(self.get(GONE))
    }

    /// A hub of the same epoch goes on. These workers will be attached again; the others are gone.
    pub(super) fn resume(&self, processes: &BTreeSet<u32>) {
        self.set(GONE, self.seen_by_others(processes));
        for at in self.slots() {
            if self.process(at).is_some_and(|process| !processes.contains(&process)) {
                self.set(at, 0);
            }
        }
    }

    /// A worker is attached. It has seen messages up to this number.
    pub(super) fn attach(&self, process: u32, seen: u64) -> Slot {
        let own = self.slots().find(|at| self.process(*at) == Some(process));
        let at = own.or_else(|| self.slots().find(|at| self.get(*at) == 0))?;
        self.set(at + 1, seen);
        self.set(at, u64::from(process) + 1);
        Some(at)
    }

    /// The worker may see messages up to this number. Call it before the bytes leave.
    pub(super) fn may_see(&self, slot: Slot, seen: u64) {
        match slot {
            Some(at) => self.set(at + 1, seen),
            None => self.set(GONE, self.get(GONE).max(seen)),
        }
    }

    /// An author was told of numbers up to this one, although no worker has the messages.
    pub(super) fn only_here(&self, last: u64) {
        self.set(GONE, self.get(GONE).max(last));
    }

    /// The worker is gone, with what it has seen.
    pub(super) fn detach(&self, slot: Slot, seen: u64) {
        self.set(GONE, self.get(GONE).max(seen));
        if let Some(at) = slot {
            self.set(at, 0);
        }
    }

    fn workers(&self) -> impl Iterator<Item = (u32, u64)> {
        self.slots().filter_map(|at| Some((self.process(at)?, self.get(at + 1))))
    }

    fn slots(&self) -> impl Iterator<Item = usize> + use<> {
        (WORKERS..COUNT).step_by(2)
    }

    fn process(&self, at: usize) -> Option<u32> {
        u32::try_from(self.get(at).checked_sub(1)?).ok()
    }

    fn clear(&self) {
        self.slots().for_each(|at| self.set(at, 0));
    }

    fn get(&self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |number| number.load(Ordering::Acquire))
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(number) = self.0.get(at) {
            AtomicU64::store(number, value, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hub_finds_what_the_last_one_stored() {
        let file = tempfile::tempfile().unwrap();
        assert!(NumberStore::map(&file).is_err());
        file.set_len(NumberStore::SIZE as u64).unwrap();
        let store = NumberStore::map(&file).unwrap();
        assert_eq!((store.epoch(), store.last()), (None, 0));
        let epoch = Epoch::new();
        store.begin(epoch, 0);
        store.use_up_to(7);
        let (one, other) = (store.attach(0, 3), store.attach(9, 3));
        store.may_see(one, 5);
        store.may_see(other, 7);
        drop(store);
        let next = NumberStore::map(&file).unwrap();
        assert_eq!((next.epoch(), next.last()), (Some(epoch), 7));
        let seen = |processes: &[u32]| next.seen_by_others(&processes.iter().copied().collect());
        assert_eq!((seen(&[0, 9]), seen(&[9]), seen(&[0]), seen(&[])), (0, 5, 7, 7));
        next.detach(other, 6);
        assert_eq!((seen(&[0]), seen(&[])), (6, 6));
        next.may_see(one, 7);
        next.resume(&[0].into());
        assert_eq!((seen(&[0]), seen(&[])), (6, 7));
        // It comes back, in its old place.
        assert_eq!(next.attach(0, 5), one);
        assert_eq!((seen(&[0]), seen(&[])), (6, 6));
        next.resume(&BTreeSet::new());
        assert_eq!((seen(&[0]), next.attach(3, 0)), (6, one));
        next.begin(Epoch::new(), 7);
        assert_eq!((seen(&[]), next.last()), (0, 7));
    }

    #[test]
    fn a_worker_without_a_slot_counts_as_gone() {
        let store = NumberStore::anonymous().unwrap();
        store.begin(Epoch::new(), 0);
        let slots: Vec<_> = (0..300).map(|process| store.attach(process, 0)).collect();
        assert!(slots[0].is_some() && slots[299].is_none());
        store.may_see(slots[299], 4);
        assert_eq!(store.seen_by_others(&(0..300).collect()), 4);
    }
}
