//! State that only a holder of Ruby's global lock touches.

use std::cell::UnsafeCell;

use magnus::Ruby;

/// A cell whose lock is Ruby's own.
///
/// A Mutex would do, but the garbage collector runs on a thread that may hold it already, in the
/// middle of an allocation: marking would then wait for itself.
#[derive(Default)]
pub struct GvlCell<T>(UnsafeCell<T>);

// SAFETY: every access needs a `Ruby` handle, which exists only where the lock is held.
unsafe impl<T> Sync for GvlCell<T> {}
// SAFETY: as above; Ruby values inside are only dropped, which for a VALUE does nothing.
unsafe impl<T> Send for GvlCell<T> {}

impl<T> GvlCell<T> {
    pub const fn new(value: T) -> Self {
        GvlCell(UnsafeCell::new(value))
    }

    /// Works on the content. `work` must not call into Ruby nor allocate Ruby objects: both can
    /// switch threads or start the garbage collector, which comes back here.
    pub fn with<R>(&self, _locked: &Ruby, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the lock is held, and `work` does not give it up.
        work(unsafe { &mut *self.0.get() })
    }

    /// Looks at the content from the garbage collector, which holds the lock without a handle.
    pub fn while_marking<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        // SAFETY: Ruby marks with the lock held, and never inside `with`, see there.
        look(unsafe { &*self.0.get() })
    }
}

impl<T: Copy> GvlCell<T> {
    /// A copy of the content.
    pub fn get(&self, locked: &Ruby) -> T {
        self.with(locked, |content| *content)
    }

    /// Replaces the content.
    pub fn set(&self, locked: &Ruby, value: T) {
        self.with(locked, |content| *content = value);
    }
}
