//! A worker, as the reactor knows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A thread that asks for jobs. Made on that thread, and not shared.
#[derive(Debug)]
pub struct Worker {
    handle: Arc<WorkerHandle>,
    /// When the job at hand was taken.
    pub(super) busy_since: Option<Instant>,
    /// Jobs taken since the worker last had to wait.
    pub(super) batch: u64,
}

/// By this, other threads interrupt and wake a worker.
#[derive(Debug)]
pub struct WorkerHandle {
    thread: Thread,
    interrupted: AtomicBool,
    /// Wakes the thread that drives: it may be this worker.
    driver_waker: Arc<OnceLock<Waker>>,
}

impl Worker {
    pub(super) fn new(driver_waker: Arc<OnceLock<Waker>>) -> Self {
        let handle = WorkerHandle { thread: std::thread::current(), interrupted: AtomicBool::new(false), driver_waker };
        Worker { handle: Arc::new(handle), busy_since: None, batch: 0 }
    }

    /// How long ago the job at hand was taken.
    pub fn held(&self) -> Duration {
        self.busy_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The handle for other threads.
    pub fn handle(&self) -> &Arc<WorkerHandle> {
        &self.handle
    }

    /// Whether the worker was interrupted since the last call.
    pub(super) fn take_interrupt(&self) -> bool {
        self.interrupted() && self.handle.interrupted.swap(false, Ordering::SeqCst)
    }

    pub(super) fn interrupted(&self) -> bool {
        self.handle.interrupted.load(Ordering::SeqCst)
    }
}

impl WorkerHandle {
    /// Makes the worker's `next` return [`super::Next::Interrupted`], now or when it is called the next
    /// time. Any thread; takes no lock.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(driver) = self.driver_waker.get() {
            driver.wake_by_ref();
        }
    }

    /// Wakes the worker if it is idle. Then it looks again at what it waits for.
    pub(super) fn wake(&self) {
        self.thread.unpark();
    }
}
