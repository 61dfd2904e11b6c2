//! A bound over the queues of all clients together (`max_queued_total`).
//!
//! What is written to clients is counted with one atomic addition a write. A write beyond the bound is still accepted:
//! it calls the [`Relief`], a task of the reactor, which closes the slowest clients until a sixteenth of the bound is
//! free again. So it looks for them once for many writes. The slowest is the client whose socket has taken nothing for
//! the longest. Clients with little in their queue (less than half of the average) stay open, since closing them would
//! not help.
//!
//! When much of what was queued is gone, the relief also has the memory given back to the system: the allocator would
//! keep it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use super::{Client, Context};
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::log_throttle::LogThrottle;
use crate::base::memory;
use crate::base::timers::Alarm;
use crate::base::wakeups::{RemoteWaker, Wakeups};

/// Bytes that a write takes beside its payload: its entries in the queues, and what the allocator adds.
const WRITE_OVERHEAD: usize = 128;

/// Memory that is counted for this many writes of this many bytes together.
pub(super) fn cost(writes: usize, bytes: usize) -> usize {
    bytes + writes * WRITE_OVERHEAD
}

/// The largest default of the bound, and the default where the system does not say how much memory there is.
const MAX_DEFAULT: u64 = 1 << 30;

/// The default of the bound, for a process that has the machine to itself: a quarter of the memory, at most 1 GiB.
pub fn default_most() -> usize {
    let quarter = memory::available().map_or(MAX_DEFAULT, |bytes| bytes / 4);
    usize::try_from(quarter.min(MAX_DEFAULT)).unwrap_or(usize::MAX)
}

/// Memory is given back when the queues have shrunk by this many bytes.
const SURPLUS: usize = 16 << 20;

/// Time between that and giving it back: streams free what they held one turn after they were closed, and others may
/// be about to close, too.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// The shortest time between two times that memory is given back.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// How much waits for all clients of a server. Any thread.
#[derive(Debug)]
pub struct Pressure {
    most: usize,
    queued: AtomicUsize,
    /// The most that was queued since memory was given back.
    peak: AtomicUsize,
    /// Memory is to be given back, and the relief has been called for it.
    surplus: AtomicBool,
    /// The relief has been called, and has not looked yet.
    called: AtomicBool,
    relief: RemoteWaker,
    /// Clients that take nothing of what waits for them.
    stalled: Lock<HashMap<u64, Arc<Client>>>,
}

/// A client that takes nothing of what waits for it.
pub(super) struct Stalled {
    pub(super) client: Arc<Client>,
    pub(super) since: Instant,
    pub(super) bytes: usize,
}

impl Pressure {
    /// Nothing waits yet.
    pub fn new(limits: &Limits, wakeups: Arc<Wakeups>) -> Self {
        Pressure {
            most: limits.max_queued_total.unwrap_or_else(default_most),
            queued: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            surplus: AtomicBool::new(false),
            called: AtomicBool::new(false),
            relief: RemoteWaker::new(wakeups),
            stalled: Lock::default(),
        }
    }

    /// Bytes that wait for all clients, with what keeping them takes.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Counts `bytes` more as waiting.
    pub(super) fn add(&self, bytes: usize) {
        let queued = self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if queued > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(queued, Ordering::Relaxed);
        }
    }

    /// Counts `bytes` less as waiting: they were sent or dropped.
    pub(super) fn remove(&self, bytes: usize) {
        if bytes > 0 {
            let queued = self.queued.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes);
            if self.peak.load(Ordering::Relaxed) > queued.saturating_add(SURPLUS)
                && !self.surplus.load(Ordering::Relaxed)
                && !self.surplus.swap(true, Ordering::Relaxed)
            {
                self.call();
            }
        }
    }

    /// Calls the relief if too much waits. Must not be called with a client's lock held.
    pub(super) fn relieve(&self) {
        if self.queued() > self.most {
            self.call();
        }
    }

    /// Whether no more than a sixteenth of the bound is free. That is a reserve for clients that take what they are
    /// sent.
    pub(super) fn is_high(&self) -> bool {
        self.queued() > self.enough()
    }

    /// How much may stay queued after a relief.
    fn enough(&self) -> usize {
        self.most - self.most / 16
    }

    fn call(&self) {
        if !self.called.load(Ordering::Relaxed) && !self.called.swap(true, Ordering::AcqRel) {
            self.relief.wake();
        }
    }

    /// The client takes nothing of what waits for it.
    pub(super) fn stalls(&self, client: &Arc<Client>) {
        self.stalled().insert(client.id(), Arc::clone(client));
    }

    /// The client takes something again, or is closed.
    pub(super) fn moves(&self, client: &Client) {
        let gone = self.stalled().remove(&client.id());
        drop(gone);
    }

    fn stalled(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.stalled.lock()
    }
}

/// The task. Spawn it on the reactor; it ends with that.
pub struct Relief {
    context: Arc<Context>,
    alarm: Alarm,
    trim_at: Option<Instant>,
    /// Memory is to be given back once more, since Ruby frees its part later.
    again: bool,
    trimmed: Option<Instant>,
    closings: LogThrottle,
}

impl Relief {
    /// The relief of a server.
    pub fn new(context: Arc<Context>) -> Self {
        let alarm = context.base.timers.alarm();
        Relief { context, alarm, trim_at: None, again: false, trimmed: None, closings: LogThrottle::once_a_minute() }
    }

    /// Closes the slowest clients if too much waits.
    fn relieve(&self) {
        let pressure = &self.context.pressure;
        if pressure.queued() <= pressure.most {
            return;
        }
        let clients: Vec<_> = pressure.stalled().values().cloned().collect();
        let mut stalled: Vec<_> = clients.into_iter().filter_map(Client::into_stalled).collect();
        stalled.sort_unstable_by_key(|one| one.since);
        let waiting: usize = stalled.iter().map(|one| one.bytes).sum();
        let little = waiting / stalled.len().max(1) / 2;
        let (mut closed, mut freed) = (0, 0);
        for one in stalled.iter().filter(|one| one.bytes >= little) {
            if pressure.queued() <= pressure.enough() {
                break;
            }
            one.client.crowd_out();
            closed += 1;
            freed += one.bytes;
        }
        self.context.base.stats.crowded_out.add_many(closed);
        if closed > 0
            && let Some(more) = self.closings.allows()
        {
            let most = pressure.most;
            log::info!(
                "more than {most} bytes waited for all clients (max_queued_total): closed the {closed} slowest, which \
                 had {freed} bytes waiting{more}"
            );
        }
    }

    /// Has memory given back, a while after the queues have shrunk by much.
    fn trim(&mut self, cx: &TaskContext<'_>, now: Instant) {
        let pressure = &self.context.pressure;
        let surplus = pressure.surplus.load(Ordering::Relaxed);
        if !surplus && !self.again {
            return;
        }
        let trim_at = *self.trim_at.get_or_insert_with(|| {
            let earliest = self.trimmed.map_or(now, |trimmed| trimmed + TRIM_INTERVAL);
            earliest.max(now + TRIM_AFTER)
        });
        if now < trim_at {
            self.alarm.set(trim_at, cx.waker());
            return;
        }
        (self.trim_at, self.trimmed, self.again) = (None, Some(now), surplus);
        pressure.peak.store(pressure.queued(), Ordering::Relaxed);
        pressure.surplus.store(false, Ordering::Relaxed);
        // If there is no disk thread, it is given back another time.
        let _ = self.context.base.disk.chore(memory::give_back);
        if self.again {
            cx.waker().wake_by_ref();
        }
    }
}

impl Future for Relief {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let pressure = &self.context.pressure;
        // Before it looks, so that a write from now on calls again.
        pressure.relief.register(cx.waker());
        pressure.called.store(false, Ordering::Release);
        self.relieve();
        let now = self.context.base.timers.now();
        self.trim(cx, now);
        Poll::Pending
    }
}
