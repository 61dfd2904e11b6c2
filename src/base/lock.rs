//! A mutex and a condition variable without poisoning.
//!
//! A panic in the core is reported and ends one task or one job. The next thread that takes the lock must not panic in
//! turn, so a [`Lock`] gives out what the panic has left behind.
//!
//! They are the standard library's, because a forked child may make a server of its own. parking_lot keeps the threads
//! that wait for any lock in one table per process. The child inherits that table, perhaps with a locked bucket whose
//! owner does not exist there. A lock of the standard library is a number of its own: a new one is free in any process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// A mutex that a panic does not poison. Any thread; must not be taken in a forked child, unless the child made it.
#[derive(Debug, Default)]
pub struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    /// A lock that no thread holds.
    pub const fn new(value: T) -> Self {
        Lock(Mutex::new(value))
    }

    /// Blocks until no other thread holds the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock if no thread holds it. May be called in a forked child.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A condition that threads wait for: for a change of what a [`Lock`] holds. As with any condition variable, a wait may
/// end without a reason.
#[derive(Debug, Default)]
pub struct Condition(Condvar);

impl Condition {
    /// A condition that no thread waits for.
    pub const fn new() -> Self {
        Condition(Condvar::new())
    }

    /// Releases the lock, blocks until the condition is notified, and takes the lock again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Condition::wait`], but for at most `timeout`. True if the timeout has passed.
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        let (guard, result) = self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner);
        (guard, result.timed_out())
    }

    /// Ends the wait of one thread.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Ends the wait of all threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_panic_leaves_the_lock_usable() {
        let lock = Arc::new(Lock::new(1));
        let holder = Arc::clone(&lock);
        let panicked = std::thread::spawn(move || {
            let mut value = holder.lock();
            *value = 2;
            panic!("with the lock held");
        });
        assert!(panicked.join().is_err());
        assert_eq!(*lock.lock(), 2);
    }

    #[test]
    fn a_wait_ends_by_a_notification_or_the_timeout() {
        let shared = Arc::new((Lock::new(false), Condition::new()));
        let (guard, timed_out) = shared.1.wait_timeout(shared.0.lock(), Duration::ZERO);
        assert!(timed_out && !*guard);
        drop(guard);
        let notifier = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            *notifier.0.lock() = true;
            notifier.1.notify_all();
        });
        let mut changed = shared.0.lock();
        while !*changed {
            changed = shared.1.wait(changed);
        }
        drop(changed);
        thread.join().unwrap();
    }
}
