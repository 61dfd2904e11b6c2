//! The channels of a process: the front door.
//!
//! Publishers number their messages under the engine's lock, which is held for a push. Everything
//! else is under the lock of the log; whoever takes that takes over what is published first.
//! Locks are taken in the order presence, log, engine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::batch::BatchLimit;
use super::cursor::{Cursor, Since};
use super::draft::{Draft, EventName, Kind};
use super::engine::Engine;
use super::error::Error;
use super::limits::Limits;
use super::log::Log;
use super::message::Message;
use super::notice::Notice;
use super::policy::Policy;
use super::presence::{Presence, announcement};
use super::subscription::{Member, Subscription, Target};
use super::wake::Wake;
use super::work;
use crate::base::fork::OwnerProcess;
use crate::base::lock::Lock;
use crate::base::stats::Counter;

/// Bytes that wait in the engine at which a publisher takes them over itself: then the reactor is
/// behind, and the log's bound must hold all the same.
const WAITING: usize = 1 << 20;

/// Channels that messages waiting in the engine may open. Near the limit publishers look closely.
const CLOSE: usize = 4096;

/// Part of a channel's past.
#[derive(Debug)]
pub struct History {
    /// In order; messages that are not stored are not among them.
    pub messages: Vec<Arc<Message>>,
    /// False if between the cursor and the first message some are missing.
    pub complete: bool,
}

/// What is to be known of all channels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Messages published, those of the server itself among them.
    pub published: u64,
    /// Bytes of the messages in the log.
    pub bytes: u64,
    /// Channels and patterns that have messages or readers.
    pub channels: u64,
    /// Readers that are attached.
    pub readers: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// The cursor behind it.
    pub cursor: Cursor,
    /// Whoever takes messages over is behind: call [`Channels::take_over`], or memory is not bounded.
    pub behind: bool,
}

/// All channels of a process. All methods may be called from any thread; in a forked child none may.
pub struct Channels {
    engine: Arc<dyn Engine>,
    limits: Lock<Limits>,
    published: Counter,
    owner: OwnerProcess,
    state: Lock<State>,
    presence: Lock<Presence>,
    /// How many there were when it was looked last.
    open: AtomicUsize,
}

/// What is under the log's lock.
pub(super) struct State {
    pub(super) log: Log,
    /// On its way from the engine into the log; kept for its memory.
    taken: Vec<Arc<Message>>,
}

impl Channels {
    /// Channels over an engine. `default_event` is the name of events that were given none, free
    /// of CR, LF and NUL.
    pub fn new(limits: Limits, engine: Arc<dyn Engine>, default_event: Option<&str>) -> Arc<Self> {
        let log = Log::new(engine.epoch(), engine.last(), limits, default_event);
        Arc::new(Channels {
            engine,
            limits: Lock::new(limits),
            published: Counter::default(),
            owner: OwnerProcess::current(),
            state: Lock::new(State { log, taken: Vec::new() }),
            presence: Lock::default(),
            open: AtomicUsize::new(0),
        })
    }

    /// Takes over the bounds and the default event's name of a server. Messages and readers stay.
    pub fn configure(&self, limits: Limits, default_event: Option<&str>) {
        *self.limits.lock() = limits;
        self.lock_current().log.configure(limits, default_event);
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// Whether this process was forked off the one that the channels belong to: then locks may be held by threads
    /// that are not here.
    pub fn forked(&self) -> bool {
        self.owner.forked()
    }

    /// Sets the rules of all channels that match `glob` and no later rule: the last that matches
    /// counts. Also for channels that are there already.
    pub fn define(&self, glob: &str, policy: Policy, now: Instant) {
        self.lock_current().log.define(glob, policy);
        // Some channels get the new rules at once, others when they are used next.
        self.sweep_channels(now);
    }

    /// Publishes a message; `now` is when its ttl begins. Returns the cursor behind it.
    ///
    /// Waits for other publishers' pushes, and for the log only if much waits to be taken over.
    pub fn publish(&self, draft: &Draft<'_>, now: Instant) -> Result<Cursor, Error> {
        let posted = self.post(draft, now)?;
        if posted.behind {
            self.take_over();
        }
        Ok(posted.cursor)
    }

    /// As [`Channels::publish`], but leaves it to the caller to wait for the log. This waits for it only when the
    /// limit of channels is near.
    pub fn post(&self, draft: &Draft<'_>, now: Instant) -> Result<Posted, Error> {
        let limits = self.limits();
        let message = Message::new(draft, &limits, now)?;
        if self.open.load(Ordering::Relaxed) + CLOSE >= limits.max_channels
            && !self.lock_current().log.accepts(draft.channel)
        {
            return Err(Error::TooManyChannels(limits.max_channels));
        }
        let published = self.engine.publish(message)?;
        self.published.add();
        let cursor = Cursor { epoch: self.engine.epoch(), seq: published.seq };
        Ok(Posted { cursor, behind: published.waiting > WAITING })
    }

    /// Takes over what was published.
    pub fn take_over(&self) {
        drop(self.lock_current());
    }

    /// Where the log ends: everything published before has been seen.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.engine.epoch(), seq: self.engine.last() }
    }

    /// Stored messages of a channel: the first `limit` after a cursor, or the newest `limit` if
    /// there is none or it is too old.
    pub fn history(&self, channel: &str, since: Since, limit: usize, now: Instant) -> History {
        let (messages, complete) = self.lock_current().log.history(channel, since, limit, now);
        History { messages, complete }
    }

    /// The names of all channels that have messages or readers, in no order. Channels that are opened or forgotten
    /// meanwhile may be among them or not.
    pub fn names(&self) -> Vec<Arc<str>> {
        let (mut names, mut from, mut pieces) = (Vec::new(), 0, 0);
        while let Some(next) = self.lock_current().log.names_from(from, &mut names) {
            from = next;
            pieces += 1;
        }
        // A channel may have been forgotten and opened in another place meanwhile.
        if pieces > 0 {
            names.sort_unstable();
            names.dedup();
        }
        names
    }

    /// Bytes of the messages in the log.
    pub fn bytes(&self) -> usize {
        self.lock_current().log.memory.bytes()
    }

    /// Numbers for people who watch.
    pub fn figures(&self) -> Figures {
        let state = self.lock_current();
        let log = &state.log;
        Figures {
            published: self.published.get(),
            bytes: log.memory.bytes() as u64,
            channels: log.channels.len() as u64,
            readers: log.readers.len() as u64,
        }
    }

    /// Whether [`Channels::sweep`] has anything to look at.
    pub fn is_idle(&self) -> bool {
        let forgotten = self.lock().log.channels.len() == 0;
        forgotten && self.presence().is_empty()
    }

    pub(super) fn attach(&self, id: u64, wake: Arc<dyn Wake>, since: Since) -> u32 {
        self.lock_current().log.attach(id, wake, since)
    }

    /// Takes over what was published, and wakes the readers whose channels have something new,
    /// each once until it has read all. Returns how many. For the reactor, when the engine woke it.
    pub fn deliver(&self) -> usize {
        let (mut woken, mut more) = self.lock_current().log.deliver();
        while more {
            let (others, rest) = self.lock().log.deliver();
            (woken, more) = (woken + others, rest);
        }
        woken
    }

    /// Frees what is too old or was read by all, and lets members leave that have been away for
    /// long enough. Call it every second or so.
    pub fn sweep(&self, now: Instant) {
        self.take_over();
        self.sweep_channels(now);
        self.lock().log.sweep_pins();
        loop {
            // Announced under the lock, so that nobody joins between.
            let mut presence = self.presence();
            let expired = presence.expire(self.limits().linger, now);
            for (channel, member) in &expired {
                self.announce("push.leave", channel, member, None, None, now);
            }
            if expired.len() < work::PIECE {
                return;
            }
        }
    }

    /// Sweeps as many channels as one hold of the lock may look at. It takes several holds for that, because to match a
    /// rule takes longer than a look.
    fn sweep_channels(&self, now: Instant) {
        let mut left = work::PIECE.min(self.lock().log.channels.end() as usize);
        while left > 0 {
            let some = left.min(work::PIECE / 8);
            self.lock().log.sweep(some, now);
            left -= some;
        }
    }

    // ---- presence ------------------------------------------------------------------------

    /// Names and information (JSON) of the members that are there, by name. In a channel with thousands of members, those
    /// that come or go meanwhile may be among them or not.
    pub fn present(&self, channel: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        loop {
            let presence = self.presence();
            let last = all.last().map(|(name, _)| Arc::clone(name));
            let before = all.len();
            let next = presence.members_after(channel, last.as_ref()).take(work::PIECE);
            all.extend(next.map(|(name, info)| (Arc::clone(name), Arc::clone(info))));
            if all.len() < before + work::PIECE {
                return all;
            }
        }
    }

    /// The ids of all readers that are there as `member`.
    pub fn readers_of(&self, member: &str) -> Vec<u64> {
        self.presence().readers(member)
    }

    fn announce(
        &self,
        event: &str,
        channel: &str,
        member: &str,
        info: Option<&str>,
        except: Option<u64>,
        now: Instant,
    ) {
        let payload = announcement(channel, member, info);
        let event = EventName::Given(event);
        let draft =
            Draft { kind: Kind::Server, event, store: false, except, ..Draft::text(channel, payload.as_bytes()) };
        if let Err(error) = self.publish(&draft, now) {
            log::warn!("{channel}: {member} could not be announced: {error}");
        }
    }

    fn join(&self, number: u32, id: u64, channel: &str, member: Member<'_>, presence: &mut Presence, now: Instant) {
        if presence.join(channel, member, id, now) {
            self.announce("push.join", channel, member.name, Some(member.info), Some(id), now);
        }
        let here = Notice::Here { channel: channel.into(), members: presence.here(channel).into() };
        self.lock().log.notify(number, here);
    }

    // ---- for readers ---------------------------------------------------------------------

    pub(super) fn subscribe(
        &self,
        number: u32,
        id: u64,
        subscription: Subscription<'_>,
        now: Instant,
    ) -> Result<Option<bool>, Error> {
        let Subscription { target, since, member, frames } = subscription;
        // From before the start is fixed until it is told who is here: it misses no change.
        let mut presence = member.is_some().then(|| self.presence());
        let mut state = self.lock_current();
        let complete = state.log.subscribe(number, target, since, frames, now)?;
        let announced = matches!(target, Target::Channel(name) if state.log.policy(name).presence);
        drop(state);
        if let (Some(presence), Some(member)) = (&mut presence, member) {
            if announced {
                self.join(number, id, target.name(), member, presence, now);
            } else {
                presence.join_unseen(target.name(), member, id, now);
            }
        }
        Ok(complete)
    }

    pub(super) fn unsubscribe(&self, number: u32, member: Option<u64>, target: Target<'_>, now: Instant) -> bool {
        let found = self.lock_current().log.unsubscribe(number, target);
        if let (true, Some(id), Target::Channel(name)) = (found, member, target) {
            self.presence().leave(name, id, now);
        }
        found
    }

    pub(super) fn detach(&self, number: u32, member: Option<u64>, now: Instant) {
        // A child must not: somebody who is not there may hold the lock.
        if self.forked() {
            return;
        }
        self.lock().log.detach(number);
        if let Some(id) = member {
            self.presence().gone(id, now);
        }
    }

    pub(super) fn batch_limit(&self) -> BatchLimit {
        let limits = self.limits();
        BatchLimit { messages: limits.batch_messages, bytes: limits.batch_bytes }
    }

    // ---- locks ---------------------------------------------------------------------------

    /// The log, as the reactor has last seen it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let guard = self.state.lock();
        work::taken();
        guard
    }

    /// The log with all that is published.
    fn lock_current(&self) -> MutexGuard<'_, State> {
        let mut guard = self.lock();
        let State { log, taken } = &mut *guard;
        self.engine.tail(log.last, taken);
        if !taken.is_empty() {
            for message in taken.drain(..) {
                log.append(message);
            }
            self.engine.trim(log.last);
            self.open.store(log.channels.len(), Ordering::Relaxed);
        }
        guard
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        let guard = self.presence.lock();
        work::taken();
        guard
    }
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channels").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}
