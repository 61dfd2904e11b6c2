//! A worker, as the reactor knows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread::Thread;
use std::time::Instant;

/// A thread that asks for work. Made on that thread, and not shared.
#[derive(Debug)]
pub struct Worker {
    handle: Arc<WorkerHandle>,
    /// When the job at hand was taken.
    pub(super) busy_since: Option<Instant>,
    /// Jobs taken since it last had to wait.
    pub(super) batch: u64,
}

/// A worker's place, by which other threads call it.
#[derive(Debug)]
pub struct WorkerHandle {
    thread: Thread,
    interrupted: AtomicBool,
    /// Wakes whoever drives: it may be this worker.
    driver: Arc<OnceLock<Waker>>,
}

impl Worker {
    pub(super) fn new(driver: Arc<OnceLock<Waker>>) -> Self {
        let handle = WorkerHandle { thread: std::thread::current(), interrupted: AtomicBool::new(false), driver };
        Worker { handle: Arc::new(handle), busy_since: None, batch: 0 }
    }

    /// Where it is called.
    pub fn handle(&self) -> &Arc<WorkerHandle> {
        &self.handle
    }

    /// Whether it was interrupted since the last time that this was asked.
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
        self.call();
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Has the worker look again at what it waits for.
    pub(super) fn call(&self) {
        self.thread.unpark();
    }
}
