//! Parcels: from this process to the hub, and from the hub. See [`crate::base::peers`].

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::super::protocol::Frame;
use super::engine::HubClient;
use super::machine::Machine;
use crate::base::in_flight::InFlightGuard;
use crate::base::lock::Lock;
use crate::base::peers::{Parcel, PeerEvent, Peers};
use crate::base::wakeups::RemoteWaker;

/// Bytes of parcels that wait for a connection to the hub, or for its socket.
const WAITING: usize = 16 << 20;

/// What a parcel costs beside its payload.
const COST: usize = size_of::<Parcel>();

/// The machine's side.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    waiting: VecDeque<Parcel>,
    /// What holds those that were written last, until the socket has taken them.
    holds: Vec<InFlightGuard>,
    events: Vec<PeerEvent>,
    /// Bytes of parcels that wait no longer.
    gone: usize,
}

impl Parcels {
    fn next(&mut self) -> Option<Parcel> {
        let parcel = self.waiting.pop_front()?;
        self.gone += cost(&parcel);
        Some(parcel)
    }

    /// The socket has taken all that was written.
    pub(super) fn written(&mut self) {
        self.holds.clear();
    }

    /// Appends a frame. Returns false if there is none.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(Parcel { to, id, payload, hold }) = self.next() else { return false };
        Frame::Relay { process: to, id, payload: &payload }.encode(out);
        self.holds.extend(hold);
        true
    }

    /// The connection has ended.
    pub(super) fn disconnected(&mut self) {
        while self.next().is_some() {}
        self.holds.clear();
        self.events.push(PeerEvent::Lost);
    }

    /// Takes a frame of the hub. Returns false if it is of another kind.
    pub(super) fn receive(&mut self, frame: &Frame<'_>) -> bool {
        let event = match *frame {
            Frame::Relay { process: from, id, payload } => {
                PeerEvent::Parcel { from, id, payload: Bytes::copy_from_slice(payload) }
            }
            Frame::Unreachable { process: to, id, length, why } => PeerEvent::Unreachable { to, id, length, why },
            Frame::Parted { process } => PeerEvent::Parted { process },
            _ => return false,
        };
        self.events.push(event);
        true
    }
}

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
    /// Moves what was sent to the machine.
    pub(super) fn take_sent(&self, machine: &mut Machine) {
        let mut shared = self.0.lock();
        if !shared.sent.is_empty() {
            machine.parcels.waiting.extend(mem::take(&mut shared.sent));
        }
    }

    /// Gives what has come to the task that listens.
    pub(super) fn publish(&self, machine: &mut Machine) {
        let Parcels { events, gone, .. } = &mut machine.parcels;
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
}

impl Peers for HubClient {
    fn send(&self, parcel: Parcel) -> bool {
        let cost = cost(&parcel);
        let mut shared = self.relay.0.lock();
        if shared.waiting > 0 && shared.waiting + cost > WAITING {
            return false;
        }
        shared.waiting += cost;
        let first = shared.sent.is_empty();
        shared.sent.push(parcel);
        drop(shared);
        // Once for all that is sent until the driver looks.
        if first {
            self.wake_driver();
        }
        true
    }

    fn listen(&self, task: Option<Arc<RemoteWaker>>) {
        let mut shared = self.relay.0.lock();
        shared.task = task;
        shared.events.clear();
    }

    fn take(&self, events: &mut Vec<PeerEvent>) {
        events.append(&mut self.relay.0.lock().events);
    }
}

fn cost(parcel: &Parcel) -> usize {
    parcel.payload.len() + COST
}
