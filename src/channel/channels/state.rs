//! The [`Channels`]: what they hold, their locks, and how they take events from the engine.
//!
//! Publishers number their messages under the engine's lock, and hold that lock only for a push. The log's lock protects
//! everything else, also the members. Most methods that take the log's lock take over the engine's events first. A thread
//! may take the engine's lock while it holds the log's lock, but must not take the log's lock while it holds the
//! engine's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::super::compressor::Compressor;
use super::super::cursor::Cursor;
use super::super::encoding::Deflations;
use super::super::engine::Engine;
use super::super::event::Event;
use super::super::limits::Limits;
use super::super::log::Log;
use super::super::outlets::{Outlets, SharedBatch};
use super::super::policy::Policy;
use super::super::presence::Presence;
use super::super::work;
use crate::base::fork::OwnerProcess;
use crate::base::lock::Lock;
use crate::base::peers::Peers;
use crate::base::stats::StatsHandle;

/// All channels of a process. Any thread may call all methods; a forked child may call none but [`Channels::forked`].
pub struct Channels {
    pub(super) engine: Arc<dyn Engine>,
    limits: Lock<Limits>,
    /// Where publications count.
    pub(super) stats: StatsHandle,
    pub(in crate::channel) compressor: Compressor,
    owner: OwnerProcess,
    state: Lock<State>,
    /// The number of channels when messages were taken over last.
    pub(super) open: AtomicUsize,
    /// See [`Channels::last_disconnect`].
    pub(super) last_disconnect: AtomicU64,
}

/// What the log's lock protects.
pub(in crate::channel) struct State {
    pub(in crate::channel) log: Log,
    pub(super) presence: Presence,
    /// Empty between two uses; the memory is kept for the engine's next events.
    events: Vec<Event>,
    /// Clients that another process wants to close.
    pub(super) dismissed: Vec<u64>,
}

impl Channels {
    /// The channels of an engine. `default_event` is the name of events to which the app gives none. It has no CR, LF
    /// or NUL.
    pub fn new(limits: Limits, engine: Arc<dyn Engine>, default_event: Option<&str>) -> Arc<Self> {
        Channels::counting_in(StatsHandle::default(), limits, engine, default_event)
    }

    /// The same with other counters: what is published through these channels counts there.
    pub fn counting_in(
        stats: StatsHandle,
        limits: Limits,
        engine: Arc<dyn Engine>,
        default_event: Option<&str>,
    ) -> Arc<Self> {
        let limits = engine.configure(limits);
        let Cursor { epoch, seq } = engine.position();
        let log = Log::new(epoch, seq, limits, default_event);
        let presence = Presence::new(engine.process(), engine.expires_members());
        Arc::new(Channels {
            engine,
            limits: Lock::new(limits),
            stats,
            compressor: Compressor::default(),
            owner: OwnerProcess::current(),
            state: Lock::new(State { log, presence, events: Vec::new(), dismissed: Vec::new() }),
            open: AtomicUsize::new(0),
            last_disconnect: AtomicU64::new(0),
        })
    }

    /// Sets a server's bounds and its default event's name. Messages and readers stay.
    pub fn configure(&self, limits: Limits, default_event: Option<&str>) {
        let limits = self.engine.configure(limits);
        *self.limits.lock() = limits;
        self.lock_current().log.configure(limits, default_event);
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// Whether this process was forked from the process of the channels. Then a thread that does not exist in this
    /// process may hold a lock.
    pub fn forked(&self) -> bool {
        self.owner.forked()
    }

    /// Sets the rules of all channels that match `glob`, including open channels. If several globs match a channel, the
    /// last one that was set counts.
    pub fn define(&self, glob: &str, policy: Policy, now: Instant) {
        let mut state = self.lock_current();
        self.engine.define(glob, &policy);
        state.log.define(glob, policy);
        drop(state);
        // Some channels get the new rules at once, others when they are used next.
        self.sweep_channels(now);
    }

    /// The number of this process: see [`Engine::process`].
    pub fn process(&self) -> u32 {
        self.engine.process()
    }

    /// The way to the other processes: see [`Engine::peers`].
    pub fn peers(&self) -> Option<Arc<dyn Peers>> {
        Arc::clone(&self.engine).peers()
    }

    // ---- deliver and sweep ---------------------------------------------------------------

    /// Moves what was published from the engine to the log.
    pub fn take_over(&self) {
        drop(self.lock_current());
    }

    /// Whether [`Channels::sweep`] has anything to look at.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.log.channels.len() == 0 && state.presence.is_empty()
    }

    /// Moves what was published from the engine to the log, and wakes the readers that have new messages. A reader is
    /// not woken again before it has read everything. Returns the number of readers that were woken. The reactor calls
    /// this when the engine has woken the reactor.
    pub fn deliver(&self) -> usize {
        let (mut woken, mut more) = self.lock_current().log.deliver();
        while more {
            let (others, rest) = self.lock().log.deliver();
            (woken, more) = (woken + others, rest);
        }
        woken
    }

    /// As [`Channels::deliver`], but readers with an outlet that takes their messages are not woken: their outlets get batches
    /// of messages, which are added to `batches`. Each reader is either woken or given all that is new for it, in the order of
    /// the log. Gives something to at most `most` outlets. Returns whether more readers are left, and what was compressed. One
    /// thread at a time.
    pub fn hand_out(
        &self,
        outlets: &mut impl Outlets,
        batches: &mut Vec<SharedBatch>,
        most: usize,
    ) -> (bool, Deflations) {
        let limit = self.batch_limit();
        let mut state = self.lock_current();
        let more = state.log.hand_out(outlets, batches, limit, most);
        let encoder = Arc::clone(&state.log.encoder);
        drop(state);
        let mut deflations = Deflations::default();
        batches.iter_mut().for_each(|batch| deflations.join(batch.make(&encoder)));
        (more, deflations)
    }

    /// Frees messages that are too old or that all readers have got, and announces the members that have had no client
    /// for [`Limits::linger`]. The caller calls this about once a second.
    pub fn sweep(&self, now: Instant) {
        self.take_over();
        self.sweep_channels(now);
        self.lock().log.sweep_pins();
        loop {
            let mut state = self.lock();
            let expired = state.presence.expired(self.limits().linger, now);
            let count = expired.len();
            self.send_changes(&mut state, expired);
            if count < work::PIECE {
                return;
            }
        }
    }

    /// Sweeps as many channels as one hold of the lock may look at. Takes several holds, because a channel's rules take
    /// long to find.
    fn sweep_channels(&self, now: Instant) {
        let mut left = work::PIECE.min(self.lock().log.channels.end() as usize);
        while left > 0 {
            let some = left.min(work::PIECE / 8);
            self.lock().log.sweep(some, now);
            left -= some;
        }
    }

    // ---- locks ---------------------------------------------------------------------------

    /// Takes the log's lock. The log has no messages that are still in the engine.
    pub(in crate::channel) fn lock(&self) -> MutexGuard<'_, State> {
        let guard = self.state.lock();
        work::taken();
        guard
    }

    /// Takes the log's lock, and moves what was published from the engine to the log.
    pub(super) fn lock_current(&self) -> MutexGuard<'_, State> {
        let mut guard = self.lock();
        self.take_events(&mut guard);
        guard
    }

    /// Applies the engine's events, in the engine's order.
    pub(super) fn take_events(&self, state: &mut State) {
        if state.presence.has_pending() {
            state.presence.retry(&*self.engine);
        }
        let mut events = std::mem::take(&mut state.events);
        self.engine.take(&mut events);
        if !events.is_empty() {
            for event in events.drain(..) {
                match event {
                    Event::Message(message) => state.log.append(message),
                    Event::Command { seq, command } => self.apply_command(state, seq, command),
                    Event::Lost { to } => state.log.lose(to),
                    Event::Reset(mut reset) => {
                        let members = std::mem::take(&mut reset.members);
                        let missed = state.log.rebase(*reset);
                        self.replace_members(state, members, missed);
                    }
                }
            }
            self.open.store(state.log.channels.len(), Ordering::Relaxed);
        }
        state.events = events;
    }
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channels").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}
