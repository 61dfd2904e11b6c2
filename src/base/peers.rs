//! Parcels between the processes of one server: what an engine does for the layers above it, which do not know the engine.
//!
//! A parcel goes to one process. Parcels of one process to another one keep their order, and none comes twice. One can be
//! lost; then [`PeerEvent::Unreachable`], [`PeerEvent::Parted`] or [`PeerEvent::Lost`] says so.

use std::sync::Arc;

use bytes::Bytes;

use super::in_flight::InFlightGuard;
use super::wakeups::RemoteWaker;

/// A payload for another process.
#[derive(Debug)]
pub struct Parcel {
    /// The process number of the receiver.
    pub to: u32,
    /// Comes back in [`PeerEvent::Unreachable`]. It means nothing to the engine.
    pub id: u64,
    /// What the receiver gets.
    pub payload: Bytes,
    /// Dropped when this process has given the parcel away, or when it is lost. A drain waits for that.
    pub hold: Option<InFlightGuard>,
}

/// What this process gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A parcel.
    Parcel {
        /// The process number of the sender.
        from: u32,
        /// The number that the sender gave to it.
        id: u64,
        /// What it holds.
        payload: Bytes,
    },
    /// A parcel of this process has not arrived.
    Unreachable {
        /// For whom it was.
        to: u32,
        /// Its number.
        id: u64,
        /// Bytes of its payload.
        length: u32,
        /// Why not.
        why: Unreachable,
    },
    /// What was underway from or to this process is lost.
    Parted {
        /// Its process number.
        process: u32,
    },
    /// What was underway from or to any process is lost.
    Lost,
}

/// Why a parcel has not arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// The process lives, or may live, but is not connected for now.
    Away,
    /// Too much waits for the process.
    Full,
    /// The process has ended.
    Ended,
    /// The process has ended without a drain: it was killed, or has crashed.
    Died,
}

/// The way to the other processes. All methods may be called from any thread, and none waits.
pub trait Peers: Send + Sync {
    /// Sends a parcel. While there is no connection, it waits for the next one. Returns false if too much waits already;
    /// then the parcel is lost.
    fn send(&self, parcel: Parcel) -> bool;

    /// Has `task` woken when there is something to take. Without a task, what comes is lost.
    fn listen(&self, task: Option<Arc<RemoteWaker>>);

    /// Appends to `events` what has come since the last call, in order.
    fn take(&self, events: &mut Vec<PeerEvent>);
}
