//! The interface of engines. An engine gives messages their order, in one process or among several.
//!
//! An engine numbers messages. It gives them to the process in the order of their numbers, together with everything
//! else that the channels must do in that order: see [`Event`]. Channels, floors, readers and members are the same for
//! every engine.
//!
//! **Locks.** The log's lock may be held when [`Engine::submit`], [`Engine::take`] and [`Engine::command`] are called,
//! so an engine must not call the channels back, except by the [`super::Wake`] that it was given. None of the methods
//! waits for anything but the engine's own lock; that must never be held during I/O.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use super::cursor::Cursor;
use super::event::{Command, Event};
use super::limits::Limits;
use super::message::Message;
use super::policy::Policy;
use super::progress::{Progress, Ticket};
use crate::base::peers::Peers;
use crate::base::wakeups::Wakeups;

/// The result of giving a message to an engine.
#[derive(Debug)]
pub enum Submitted {
    /// It has its number.
    Numbered {
        /// Its number, and the epoch: higher than those of all messages before it. The first is at least 1.
        cursor: Cursor,
        /// Bytes of messages in the engine that the process has not moved to its log yet.
        waiting: usize,
    },
    /// It is on its way, and gets its number later. It comes back as [`Event::Message`]: the same `Arc`, so that its
    /// author's process has it only once.
    Queued(Arc<Ticket>),
}

/// An engine takes nothing more for now; this is what it has not taken. [`Progress`] tells when to try again.
#[derive(Debug)]
pub struct Full<T>(pub T);

/// Where the log of all processes ends, once the engine knows.
#[derive(Debug, Default)]
pub struct LogEnd(OnceLock<Cursor>);

impl LogEnd {
    /// The answer, once there is one: the end at a time after the question.
    pub fn get(&self) -> Option<Cursor> {
        self.0.get().copied()
    }

    /// The engine knows the answer.
    pub fn answer(&self, end: Cursor) {
        let _ = self.0.set(end);
    }
}

/// Whether an engine can number messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineState {
    /// It can number messages.
    Ready,
    /// It cannot be reached. What was submitted waits for its return.
    Away,
}

/// See [`Engine::task`].
pub type EngineTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An ordered source of messages. All methods may be called by any thread.
pub trait Engine: Send + Sync {
    /// Where the log ends, as far as this process knows; the seq is 0 if there has been no message.
    fn position(&self) -> Cursor;

    /// A number that the engine gave to this start of the process, and gives to no other while the epoch lasts, not
    /// even to the process that takes its place. It is below 2^20, and 0 if there is one process only. It must be known
    /// before the process has clients, and outlives a change of the epoch.
    fn process(&self) -> u32;

    /// Takes a message to be numbered, or returns it at once. Messages of this process keep their order.
    ///
    /// The thread that takes the events is woken once for all that come until it takes them.
    fn submit(&self, message: Arc<Message>) -> Result<Submitted, Full<Arc<Message>>>;

    /// Appends to `events` what has come since the last call, in order. The log's lock is held.
    fn take(&self, events: &mut Vec<Event>);

    /// Takes a command to be numbered, or returns it at once. It comes back as [`Event::Command`]. Commands of this process
    /// keep their order among themselves; messages may overtake them, and they messages.
    fn command(&self, command: Command) -> Result<(), Full<Command>>;

    /// Whether this process finds out which members have had no client for long enough. If not, the engine does.
    fn expires_members(&self) -> bool {
        true
    }

    /// The channels have these bounds from now on. Returns those that hold in this process, which may have a part of
    /// the memory only.
    fn configure(&self, limits: Limits) -> Limits {
        limits
    }

    /// The app has set the rules of all channels that match `glob`. The log's lock is held.
    fn define(&self, glob: &str, policy: &Policy) {
        let _ = (glob, policy);
    }

    /// Asks where the log of all processes ends. `None` if it ends where [`Engine::position`] says. When the answer has
    /// come, the engine wakes what it wakes for events, and the threads that wait for room.
    fn ask_end(&self) -> Option<Arc<LogEnd>> {
        None
    }

    /// A task for the reactor, which does what the engine has to do as long as the server runs. The app is loaded. `None`
    /// if there is nothing to do.
    fn task(self: Arc<Self>, wakeups: &Arc<Wakeups>) -> Option<EngineTask> {
        let _ = wakeups;
        None
    }

    /// The way to the other processes of the server; `None` if there are none.
    fn peers(self: Arc<Self>) -> Option<Arc<dyn Peers>> {
        None
    }

    /// Whether it can number messages.
    fn state(&self) -> EngineState;

    /// How far it is with what this process has submitted; `None` if all has its number when [`Engine::submit`]
    /// returns, and the engine is never full.
    fn progress(&self) -> Option<&Arc<Progress>>;
}
