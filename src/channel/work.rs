//! How much is looked at while the log's lock is held: tests count it.
//!
//! Time would depend on the machine. What must be bounded is the number of channels and patterns that one hold looks at.

/// At most so many channels, patterns or members are looked at under one hold of a lock; the rest follows in other holds.
pub(super) const PIECE: usize = 4096;

/// Counts channels or patterns that were looked at.
#[inline]
pub(super) fn looked(count: usize) {
    #[cfg(test)]
    counting::LOOKS.with(|looks| looks.set(looks.get() + count));
    #[cfg(not(test))]
    let _ = count;
}

/// A lock was taken: what was counted before belongs to another hold.
#[inline]
pub(super) fn taken() {
    #[cfg(test)]
    counting::turn();
}

/// The most that this thread has looked at under one hold while it did `work`.
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
