//! Parcels between the thread that drives and the others.

use std::mem;
use std::sync::Arc;

use super::parcels::{Parcels, cost};
use crate::base::lock::Lock;
use crate::base::peers::{Parcel, PeerEvent};
use crate::base::wakeups::RemoteWaker;

/// Bytes of parcels that wait for a connection to the hub, or for its socket.
const WAITING: usize = 16 << 20;

/// What other threads leave for the one that drives, and what that one leaves for them.
#[derive(Debug, Default)]
pub(super) struct Relay(Lock<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sent: Vec<Parcel>,
    /// Bytes of the parcels that wait, here and in the machine.
    waiting: usize,
    events: Vec<PeerEvent>,
    task: Option<Arc<RemoteWaker>>,
}

impl Relay {
    /// Moves what was sent to `parcels`.
    pub(super) fn take_sent(&self, parcels: &mut Parcels) {
        let mut shared = self.0.lock();
        if !shared.sent.is_empty() {
            parcels.waiting.extend(mem::take(&mut shared.sent));
        }
    }

    /// Gives what has come to the task that listens.
    pub(super) fn publish(&self, parcels: &mut Parcels) {
        let Parcels { events, gone, .. } = parcels;
        if events.is_empty() && *gone == 0 {
            return;
        }
        let mut shared = self.0.lock();
        shared.waiting -= mem::take(gone);
        if shared.task.is_none() {
            events.clear();
        } else if shared.events.is_empty() {
            mem::swap(&mut shared.events, events);
        } else {
            shared.events.append(events);
        }
        let task = shared.task.clone().filter(|_| !shared.events.is_empty());
        drop(shared);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Leaves a parcel. Returns whether the driver must be woken; `None` if too much waits.
    pub(super) fn send(&self, parcel: Parcel) -> Option<bool> {
        let cost = cost(&parcel);
        let mut shared = self.0.lock();
        if shared.waiting > 0 && shared.waiting + cost > WAITING {
            return None;
        }
        shared.waiting += cost;
        shared.sent.push(parcel);
        // Once for all that is sent until the driver looks.
        Some(shared.sent.len() == 1)
    }

    /// Has a task woken when there is something to take.
    pub(super) fn listen(&self, task: Option<Arc<RemoteWaker>>) {
        let mut shared = self.0.lock();
        shared.task = task;
        shared.events.clear();
    }

    /// Appends what has come to `events`.
    pub(super) fn take(&self, events: &mut Vec<PeerEvent>) {
        events.append(&mut self.0.lock().events);
    }
}
