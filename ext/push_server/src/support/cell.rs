//! State that only a holder of the GVL, Ruby's global lock, touches.

use std::cell::UnsafeCell;

use magnus::Ruby;

/// A cell that is locked by the GVL.
///
/// A Mutex could deadlock: the garbage collector runs in the middle of an allocation, on a thread that may have locked
/// the Mutex already, and would wait for itself when it marks.
#[derive(Default)]
pub struct GvlCell<T>(UnsafeCell<T>);

// SAFETY: every access needs a `Ruby` handle, which exists only with the GVL.
unsafe impl<T> Sync for GvlCell<T> {}
// SAFETY: as above; Ruby values inside are only dropped, which for a VALUE does nothing.
unsafe impl<T> Send for GvlCell<T> {}

impl<T> GvlCell<T> {
    pub const fn new(value: T) -> Self {
        GvlCell(UnsafeCell::new(value))
    }

    /// Works on the content. `work` must not call Ruby nor allocate Ruby objects: both can switch threads, or start the
    /// garbage collector, which reads the content.
    pub fn with<R>(&self, _locked: &Ruby, work: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: this thread has the GVL, and `work` does not release it.
        work(unsafe { &mut *self.0.get() })
    }

    /// Looks at the content from the garbage collector, which has the GVL but no handle.
    pub fn while_marking<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        // SAFETY: Ruby marks with the GVL, and never inside `with`, see there.
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
