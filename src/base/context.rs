//! What all parts of one server share.

use std::sync::Arc;

use super::disk::Disk;
use super::fork::OwnerProcess;
use super::in_flight::InFlight;
use super::lifecycle::Lifecycle;
use super::limits::Limits;
use super::stats::StatsHandle;
use super::timers::Timers;
use super::wakeups::Wakeups;

/// What all parts of one server share: sockets, requests and push clients alike.
///
/// The reactor makes its deadlines and wake-ups from the same fields. Any thread; after a fork, the child asks `owner`
/// before it touches anything else.
#[derive(Debug)]
pub struct Context {
    /// Every bound and timeout.
    pub limits: Limits,
    /// Every counter.
    pub stats: StatsHandle,
    /// The deadlines of all tasks.
    pub timers: Arc<Timers>,
    /// How tasks of the reactor are woken from other threads.
    pub wakeups: Arc<Wakeups>,
    /// Whether the server serves, drains or has stopped.
    pub lifecycle: Arc<Lifecycle>,
    /// What a drain waits for.
    pub in_flight: Arc<InFlight>,
    /// The thread that does all work that may wait for a disk.
    pub disk: Arc<Disk>,
    /// The process that the server runs in.
    pub owner: OwnerProcess,
}

impl Context {
    /// The context of a new server in this process, which counts in memory of its own.
    pub fn new(limits: Limits) -> Self {
        Context::counting_in(StatsHandle::default(), limits)
    }

    /// The same with other counters.
    pub fn counting_in(stats: StatsHandle, limits: Limits) -> Self {
        Context {
            limits,
            stats,
            timers: Arc::default(),
            wakeups: Arc::default(),
            lifecycle: Arc::default(),
            in_flight: Arc::default(),
            disk: Arc::default(),
            owner: OwnerProcess::current(),
        }
    }
}
