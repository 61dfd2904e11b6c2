//! One wake-up of the reactor for many written clients.
//!
//! Waking a task from another thread costs a system call. A broadcast writes to thousands of
//! clients in a row, so a write only puts its client on a list; the first one on an empty list
//! wakes the reactor, which then wakes the streams' tasks locally.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Client;

/// The list of clients whose stream has something new to look at.
#[derive(Debug, Default)]
pub struct Wakeups {
    list: Mutex<Vec<Arc<Client>>>,
    signalled: AtomicBool,
    notify: Notify,
}

impl Wakeups {
    /// Puts `client` on the list. Any thread.
    pub(super) fn add(&self, client: Arc<Client>) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Wakes the streams of listed clients; runs as a task of the reactor, for ever.
    pub async fn run(&self) {
        let mut batch = Vec::new();
        loop {
            self.notify.notified().await;
            // Before the list is taken: who comes later notifies again.
            self.signalled.store(false, Ordering::Release);
            std::mem::swap(&mut batch, &mut *self.list.lock().unwrap_or_else(PoisonError::into_inner));
            for client in batch.drain(..) {
                client.wake_stream();
            }
        }
    }
}
