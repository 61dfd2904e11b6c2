//! Counts, for tests, how many channels and patterns one hold of the log's lock looks at. That number must be bounded; the
//! time that it takes depends on the machine.

/// The most channels, patterns or members to look at under one hold of a lock. The rest follows in further holds.
pub(super) const PIECE: usize = 4096;

/// Counts channels or patterns that were looked at.
#[inline]
pub(super) fn looked(count: usize) {
    #[cfg(test)]
    counting::LOOKS.with(|looks| looks.set(looks.get() + count));
    #[cfg(not(test))]
    let _ = count;
}

/// A lock was taken: the count begins anew.
#[inline]
pub(super) fn taken() {
    #[cfg(test)]
    counting::turn();
}

/// Runs `work`, and returns the most that this thread has looked at under one hold meanwhile.
#[cfg(test)]
pub(super) fn most<R>(work: impl FnOnce() -> R) -> (R, usize) {
    counting::turn();
    counting::MOST.set(0);
    let result = work();
    counting::turn();
    (result, counting::MOST.take())
}

#[cfg(test)]
mod counting {
    use std::cell::Cell;

    thread_local! {
        pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
        pub(super) static MOST: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn turn() {
        MOST.set(MOST.get().max(LOOKS.take()));
    }
}
