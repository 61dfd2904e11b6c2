//! Knowing that this process is a fork of the one that serves.
//!
//! A forked child inherits the parent's sockets and its epoll instance, but not the reactor
//! thread. Closing, shutting down or deregistering anything there would silence the parent's
//! connections. So the child must not touch them: what was made before the fork asks its
//! [`OwnerProcess`] before it touches anything native.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static WATCH: Once = Once::new();

extern "C" fn in_child() {
    // All that is allowed between fork and exec: a single atomic operation.
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The process something was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerProcess(u32);

impl OwnerProcess {
    /// The process that runs now. Forks are noticed from the first call on.
    pub fn current() -> Self {
        WATCH.call_once(|| {
            // SAFETY: `in_child` only touches an atomic, which is async-signal-safe.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        OwnerProcess(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this process is a child that was forked since. Costs one atomic load.
    pub fn forked(self) -> bool {
        self.0 != GENERATION.load(Ordering::Relaxed)
    }
}

/// A value that is not dropped in a forked child: it leaks there.
///
/// To drop it may take a lock whose holder does not exist in the child, or close a socket that the parent still uses.
#[derive(Debug)]
pub struct NotInChild<T> {
    owner: OwnerProcess,
    value: ManuallyDrop<T>,
}

impl<T> NotInChild<T> {
    /// A value that may be dropped in the process `owner` only.
    pub fn new(owner: OwnerProcess, value: T) -> Self {
        NotInChild { owner, value: ManuallyDrop::new(value) }
    }
}

impl<T> Deref for NotInChild<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for NotInChild<T> {
    fn drop(&mut self) {
        if !self.owner.forked() {
            // SAFETY: this is the only place that drops the value, and nothing can use it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_value_is_dropped_in_its_own_process_only() {
        let value = Arc::new(());
        let current = OwnerProcess::current();
        drop(NotInChild::new(current, Arc::clone(&value)));
        assert_eq!(Arc::strong_count(&value), 1);
        // In the parent's child, the owner is of another generation.
        let parent = OwnerProcess(current.0.wrapping_sub(1));
        drop(NotInChild::new(parent, Arc::clone(&value)));
        assert_eq!(Arc::strong_count(&value), 2);
        // So that no checker of leaks reports it.
        // SAFETY: the count was kept for the value that has leaked.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(&value)) };
    }
}
