//! Sends messages to the sockets of idle streams without waking the streams.
//!
//! To wake a stream's task, to run it, and to look at everything that may have changed for it costs several times what it
//! costs to hand a message to the socket. Most of that is memory that is not in the cache. So a stream that is open, has sent
//! everything and waits only for something new is *parked* at the end of its turn: it leaves its descriptor in a table, and
//! this module sends to that descriptor. An *outlet* is the number of a stream in the table.
//!
//! | module | subject |
//! |---|---|
//! | `table` | the parked streams |
//! | `parking` | what a stream itself stores |
//! | `messages` | messages of channels: taken out of the log once for all parked readers ([`Channels::hand_out`]) |
//! | `writes` | what the app has written since the reactor looked last |
//!
//! Anything unusual wakes the stream instead. A stream is unparked at the beginning of each of its turns, and before its socket is
//! closed.
//!
//! | what | how it is noticed |
//! |---|---|
//! | a write that is not sent yet, a close, a change of the heartbeat, a first subscription | [`super::Client::outbox_unchanged`] |
//! | notices, a replay, messages of several channels, a reader that was given up or is woken | the log |
//! | a deadline that has passed | it is in the table |
//! | input, an alarm, the pressure on memory | they wake the task |
//! | a socket that takes nothing, or not all, or is broken | `send` |
//!
//! In the last case the stream gets the rest, queues it before anything else, and sends it itself. So the stream finds out
//! that the socket is blocked or broken, and waits for it.
//!
//! Only the thread that drives the reactor uses the table, and after the reactor's end the thread that drops the streams.

mod messages;
mod parking;
mod table;
mod writes;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

pub(super) use self::parking::Parking;
pub(super) use self::table::{Outlet, Parked};
use self::table::{PIECES, Table};
pub use self::writes::Writing;
use super::Client;
use crate::base;
use crate::base::lock::Lock;
use crate::base::timers::Stamp;
use crate::base::wakeups::{RemoteWaker, Wakeups};
use crate::channel::Channels;

/// The parked streams of a server.
#[derive(Debug)]
pub struct FanOut {
    table: Lock<Table>,
    /// See [`FanOut::switch`].
    on: AtomicBool,
    /// Outlets of clients to which the app has written. Any thread adds to it.
    written: Lock<Vec<Outlet>>,
    /// The task that sends what was written.
    writing: RemoteWaker,
    /// There is such a task.
    writes: AtomicBool,
}

impl FanOut {
    /// Without streams.
    pub fn new(wakeups: Arc<Wakeups>) -> Self {
        FanOut {
            table: Lock::default(),
            on: AtomicBool::new(true),
            written: Lock::default(),
            writing: RemoteWaker::new(wakeups),
            writes: AtomicBool::new(false),
        }
    }

    /// Switches it on or off. To be called before there are streams. If it is off, each stream is woken to send. Clients get
    /// the same either way, so only tests that compare switch it off.
    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// See [`FanOut::switch`].
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    // ---- for streams -----------------------------------------------------------------------

    /// Adds a stream to the table, not parked yet. Returns its number.
    pub(super) fn enter(&self, client: &Arc<Client>, task: &Waker) -> Outlet {
        let outlet = self.table.lock().insert(client, task);
        if self.writes.load(Ordering::Relaxed) {
            client.set_outlet(outlet);
        }
        outlet
    }

    /// The stream has a reader of channels now. `reader` is the number of that in the log.
    pub(super) fn set_reader(&self, outlet: Outlet, reader: u32) {
        self.table.lock().set_reader(outlet, reader);
    }

    /// From now on, messages are sent to this socket, until [`FanOut::unpark`] or [`FanOut::leave`]. The stream has sent
    /// everything, and has nothing else to do before `due`.
    pub(super) fn park(&self, outlet: Outlet, descriptor: RawFd, due: Option<Stamp>) {
        self.table.lock().park(outlet, descriptor, due);
    }

    /// Nothing more is sent for the stream. Returns what was sent while it was parked.
    pub(super) fn unpark(&self, outlet: Outlet) -> Option<Parked> {
        self.table.lock().take(outlet)
    }

    /// The same when the stream ends. Its number may be given to another stream.
    pub(super) fn leave(&self, outlet: Outlet) -> Option<Parked> {
        let mut table = self.table.lock();
        let parked = table.take(outlet);
        let left = table.remove(outlet);
        drop(table);
        // Not under the lock: it has a client and a waker.
        drop(left);
        parked
    }

    // ---- for app threads -------------------------------------------------------------------

    /// Has the reactor send what the app has written to a client with an outlet. Any thread.
    pub(super) fn written(&self, outlet: Outlet) {
        let mut written = self.written.lock();
        written.push(outlet);
        let first = written.len() == 1;
        drop(written);
        if first {
            self.writing.wake();
        }
    }

    // ---- for the delivery ------------------------------------------------------------------

    /// Sends new messages to the readers that are parked, and wakes the others. Returns whether more readers are left; then other
    /// tasks should run first.
    pub(super) fn deliver(&self, channels: &Channels, base: &base::Context) -> bool {
        if !self.is_on() {
            channels.deliver();
            return false;
        }
        let mut table = self.table.lock();
        for piece in 0..PIECES {
            if piece > 0 {
                // The turn is long, so the clock is read again: see [`crate::base::timers::Timers::now`].
                base.timers.begin_turn();
            }
            if !table.deliver(channels, base) {
                return false;
            }
        }
        true
    }
}
