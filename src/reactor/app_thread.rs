//! An app thread, as the reactor knows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A thread that asks for jobs. Made on that thread, and not shared.
#[derive(Debug)]
pub struct AppThread {
    handle: Arc<AppThreadHandle>,
    /// When the job at hand was taken.
    pub(super) busy_since: Option<Instant>,
    /// Jobs taken since the app thread last had to wait.
    pub(super) batch: u64,
}

/// By this, other threads interrupt and wake an app thread.
#[derive(Debug)]
pub struct AppThreadHandle {
    thread: Thread,
    interrupted: AtomicBool,
    /// Wakes the thread that drives: it may be this app thread.
    driver_waker: Arc<OnceLock<Waker>>,
}

impl AppThread {
    pub(super) fn new(driver_waker: Arc<OnceLock<Waker>>) -> Self {
        let handle =
            AppThreadHandle { thread: std::thread::current(), interrupted: AtomicBool::new(false), driver_waker };
        AppThread { handle: Arc::new(handle), busy_since: None, batch: 0 }
    }

    /// How long ago the job at hand was taken.
    pub fn held(&self) -> Duration {
        self.busy_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The handle for other threads.
    pub fn handle(&self) -> &Arc<AppThreadHandle> {
        &self.handle
    }

    /// Whether the app thread was interrupted since the last call.
    pub(super) fn take_interrupt(&self) -> bool {
        self.interrupted() && self.handle.interrupted.swap(false, Ordering::SeqCst)
    }

    pub(super) fn interrupted(&self) -> bool {
        self.handle.interrupted.load(Ordering::SeqCst)
    }
}

impl AppThreadHandle {
    /// Makes the app thread's `next` return [`super::Next::Interrupted`], now or when it is called the next
    /// time. Any thread; takes no lock.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(driver) = self.driver_waker.get() {
            driver.wake_by_ref();
        }
    }

    /// Wakes the app thread if it is idle. Then it looks again at what it waits for.
    pub(super) fn wake(&self) {
        self.thread.unpark();
    }
}
