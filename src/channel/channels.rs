//! The channels of a process: the front door.
//!
//! Publishers number their messages under the engine's lock, which is held for a push. Everything
//! else is under the lock of the log, the members too; a thread that takes that lock first takes over
//! the events of the engine. The engine's lock may be taken within the log's, never the other way round.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::batch::BatchLimit;
use super::cursor::{Cursor, Epoch, Since};
use super::draft::{Draft, EventName, Kind};
use super::engine::{Engine, EngineState, Full, Submitted};
use super::error::{EngineError, Error};
use super::event::{Change, Command, Event};
use super::limits::Limits;
use super::log::Log;
use super::message::Message;
use super::notice::Notice;
use super::policy::Policy;
use super::presence::{Announcement, Applied, Presence};
use super::progress::{Cancel, Progress, Ticket};
use super::subscription::{Subscription, Target};
use super::wake::Wake;
use super::work;
use crate::base::fork::OwnerProcess;
use crate::base::lock::Lock;
use crate::base::stats::Counter;

/// If more bytes than this wait in the engine, a publisher moves them to the log itself: the reactor is behind, and the
/// log's bound must hold nevertheless.
const WAITING: usize = 1 << 20;

/// So many channels may be opened by messages that wait in the engine. When fewer are left, publishers check the log.
const CLOSE: usize = 4096;

/// A part of a channel's history.
#[derive(Debug)]
pub struct History {
    /// The epoch of the messages' numbers.
    pub epoch: Epoch,
    /// The messages in order, without those that were not stored.
    pub messages: Vec<Arc<Message>>,
    /// False if messages between the cursor and the first of these are missing.
    pub complete: bool,
}

/// Numbers about all channels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Messages published, including those of the server itself.
    pub published: u64,
    /// Bytes of the messages in the log.
    pub bytes: u64,
    /// Channels and patterns that have messages or readers.
    pub channels: u64,
    /// Readers that are attached.
    pub readers: u64,
}

/// The cursor behind a message that was published.
#[derive(Debug, Clone)]
pub enum Receipt {
    /// The message has its number.
    Known(Cursor),
    /// The engine numbers it later.
    Pending(Arc<Ticket>),
}

impl Receipt {
    /// The cursor, if the message has its number by now. `Some(None)`: the engine has lost the message.
    pub fn outcome(&self) -> Option<Option<Cursor>> {
        match self {
            Receipt::Known(cursor) => Some(Some(*cursor)),
            Receipt::Pending(ticket) => ticket.outcome(),
        }
    }

    /// The cursor, if the message has its number by now.
    pub fn cursor(&self) -> Option<Cursor> {
        self.outcome().flatten()
    }
}

/// The result of a publish.
#[derive(Debug)]
pub struct Posted {
    /// The cursor behind it.
    pub receipt: Receipt,
    /// The thread that takes events over is behind: call [`Channels::take_over`], or memory is not bounded.
    pub behind: bool,
}

/// What [`Channels::post`] came to.
#[derive(Debug)]
pub enum Post {
    /// The engine has the message.
    Done(Posted),
    /// The engine takes no message for now, and has kept nothing: see [`Channels::post_later`].
    Full(Unsent),
}

/// A message that the engine has not taken.
#[derive(Debug)]
pub struct Unsent(Arc<Message>);

/// All channels of a process. All methods may be called from any thread; in a forked child none may.
pub struct Channels {
    engine: Arc<dyn Engine>,
    limits: Lock<Limits>,
    published: Counter,
    owner: OwnerProcess,
    state: Lock<State>,
    /// How many channels there were when messages were taken over last.
    open: AtomicUsize,
}

/// What the log's lock protects.
pub(super) struct State {
    pub(super) log: Log,
    presence: Presence,
    /// On their way from the engine; kept for its memory.
    events: Vec<Event>,
    /// Clients that another process wants to be closed.
    dismissed: Vec<u64>,
}

impl Channels {
    /// The channels of an engine. `default_event` is the name of events to which the app gives none. It has no CR, LF
    /// or NUL.
    pub fn new(limits: Limits, engine: Arc<dyn Engine>, default_event: Option<&str>) -> Arc<Self> {
        let Cursor { epoch, seq } = engine.position();
        let log = Log::new(epoch, seq, limits, default_event);
        let presence = Presence::new(engine.process());
        Arc::new(Channels {
            engine,
            limits: Lock::new(limits),
            published: Counter::default(),
            owner: OwnerProcess::current(),
            state: Lock::new(State { log, presence, events: Vec::new(), dismissed: Vec::new() }),
            open: AtomicUsize::new(0),
        })
    }

    /// Sets the bounds and the default event's name, which a server has. Messages and readers stay.
    pub fn configure(&self, limits: Limits, default_event: Option<&str>) {
        *self.limits.lock() = limits;
        self.lock_current().log.configure(limits, default_event);
    }

    /// The bounds.
    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// Whether this process was forked from the one that the channels belong to. Then locks may be held by threads that
    /// are not here.
    pub fn forked(&self) -> bool {
        self.owner.forked()
    }

    /// Sets the rules of all channels that match `glob`, including open ones. If several globs match a channel, the one
    /// that was set last counts.
    pub fn define(&self, glob: &str, policy: Policy, now: Instant) {
        self.lock_current().log.define(glob, policy);
        // Some channels get the new rules at once, others when they are used next.
        self.sweep_channels(now);
    }

    /// The number of this process: see [`Engine::process`].
    pub fn process(&self) -> u32 {
        self.engine.process()
    }

    // ---- publishing ----------------------------------------------------------------------

    /// Publishes a message; `now` is when its ttl begins. Returns the cursor behind it.
    ///
    /// Waits for other publishers' pushes, and for the log only if much waits to be taken over. While the engine takes
    /// no messages, waits for at most [`Limits::publish_timeout`]; the caller must hold no lock.
    pub fn publish(&self, draft: &Draft<'_>, now: Instant) -> Result<Receipt, Error> {
        let posted = match self.post(draft, now)? {
            Post::Done(posted) => posted,
            Post::Full(unsent) => {
                let deadline = Instant::now() + self.limits().publish_timeout;
                let posted = self.post_later(&mut Some(unsent), deadline, &Cancel::default());
                posted.ok_or_else(|| self.unavailable())?
            }
        };
        if posted.behind {
            self.take_over();
        }
        Ok(posted.receipt)
    }

    /// As [`Channels::publish`], but leaves it to the caller to wait: for the log, and for an engine that takes no
    /// messages. This waits for the log only when the limit of channels is near.
    pub fn post(&self, draft: &Draft<'_>, now: Instant) -> Result<Post, Error> {
        let limits = self.limits();
        let message = Message::new(draft, &limits, now)?;
        if self.open.load(Ordering::Relaxed) + CLOSE >= limits.max_channels
            && !self.lock_current().log.accepts(draft.channel)
        {
            return Err(Error::TooManyChannels(limits.max_channels));
        }
        Ok(match self.submit(message) {
            Ok(posted) => Post::Done(posted),
            Err(Full(message)) => Post::Full(Unsent(message)),
        })
    }

    /// Publishes a message that the engine has not taken, once it does. `None`, and the message stays where it is, if
    /// `deadline` comes first, or the wait is cancelled. The caller must hold no lock, nor the GVL.
    pub fn post_later(&self, unsent: &mut Option<Unsent>, deadline: Instant, cancel: &Cancel) -> Option<Posted> {
        let mut attempt = || match self.submit(unsent.take()?.0) {
            Ok(posted) => Some(posted),
            Err(Full(refused)) => {
                *unsent = Some(Unsent(refused));
                None
            }
        };
        match self.engine.progress() {
            Some(progress) => progress.wait_for_room(deadline, cancel, attempt),
            None => attempt(),
        }
    }

    /// Why the engine takes no messages.
    pub fn unavailable(&self) -> Error {
        Error::Engine(match self.engine.state() {
            EngineState::Ready => EngineError::Full,
            EngineState::Away => EngineError::Away,
        })
    }

    fn submit(&self, message: Arc<Message>) -> Result<Posted, Full<Arc<Message>>> {
        let submitted = self.engine.submit(message)?;
        self.published.add();
        Ok(match submitted {
            Submitted::Numbered { cursor, waiting } => {
                Posted { receipt: Receipt::Known(cursor), behind: waiting > WAITING }
            }
            Submitted::Queued(ticket) => Posted { receipt: Receipt::Pending(ticket), behind: false },
        })
    }

    /// Moves what was published from the engine to the log.
    pub fn take_over(&self) {
        drop(self.lock_current());
    }

    /// Where the log ends: everything published before has been seen. What the engine has not numbered is not covered:
    /// see [`Channels::unsettled`].
    pub fn cursor(&self) -> Cursor {
        self.engine.position()
    }

    /// Which submission of this process was the last, if the engine has not numbered all of them yet. A thread that
    /// looks at channels waits for it, or it would not find what it has published itself.
    pub fn unsettled(&self) -> Option<u64> {
        self.engine.progress()?.unsettled()
    }

    /// Whether the engine has numbered or lost all submissions up to this one.
    pub fn is_settled(&self, submission: u64) -> bool {
        self.engine.progress().is_none_or(|progress| progress.is_settled(submission))
    }

    /// How the engine gets on with what this process has submitted, if it numbers messages later. For threads that
    /// wait.
    pub fn progress(&self) -> Option<&Arc<Progress>> {
        self.engine.progress()
    }

    // ---- looking -------------------------------------------------------------------------

    /// Stored messages of a channel: the first `limit` after a cursor. Without a cursor, or if it is too old: the
    /// newest `limit`.
    pub fn history(&self, channel: &str, since: Since, limit: usize, now: Instant) -> History {
        let mut state = self.lock_current();
        let (messages, complete) = state.log.history(channel, since, limit, now);
        History { epoch: state.log.epoch, messages, complete }
    }

    /// The names of all channels that have messages or readers, in no order. Channels that are opened or forgotten
    /// meanwhile may be among them or not.
    pub fn names(&self) -> Vec<Arc<str>> {
        let (mut names, mut from, mut pieces) = (Vec::new(), 0, 0);
        while let Some(next) = self.lock_current().log.names_from(from, &mut names) {
            from = next;
            pieces += 1;
        }
        // Meanwhile a channel may have been forgotten and opened again with another number.
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

    /// Numbers for `PushServer.stats`.
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
        let state = self.lock();
        state.log.channels.len() == 0 && state.presence.is_empty()
    }

    pub(super) fn attach(&self, id: u64, wake: Arc<dyn Wake>, since: Since) -> u32 {
        self.lock_current().log.attach(id, wake, since)
    }

    /// Takes over what was published, and wakes the readers that have new messages. Each is woken once until it has
    /// read everything. Returns how many were woken. The reactor calls this when the engine has woken it.
    pub fn deliver(&self) -> usize {
        let (mut woken, mut more) = self.lock_current().log.deliver();
        while more {
            let (others, rest) = self.lock().log.deliver();
            (woken, more) = (woken + others, rest);
        }
        woken
    }

    /// Frees messages that are too old or that all readers have got, and announces members that have left for long
    /// enough. Call it about once a second.
    pub fn sweep(&self, now: Instant) {
        self.take_over();
        self.sweep_channels(now);
        self.lock().log.sweep_pins();
        loop {
            let mut state = self.lock();
            let expired = state.presence.expired(self.limits().linger, now);
            let count = expired.len();
            self.tell(&mut state, expired);
            if count < work::PIECE {
                return;
            }
        }
    }

    /// Sweeps as many channels as one hold of the lock may look at, but in several holds, because matching rules takes
    /// longer.
    fn sweep_channels(&self, now: Instant) {
        let mut left = work::PIECE.min(self.lock().log.channels.end() as usize);
        while left > 0 {
            let some = left.min(work::PIECE / 8);
            self.lock().log.sweep(some, now);
            left -= some;
        }
    }

    // ---- presence ------------------------------------------------------------------------

    /// Names and information (JSON) of a channel's members, sorted by name. In a channel with thousands of members, the
    /// result may or may not have members that join or leave meanwhile.
    pub fn present(&self, channel: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        loop {
            let state = self.lock_current();
            let last = all.last().map(|(name, _)| Arc::clone(name));
            let before = all.len();
            let next = state.presence.members_after(channel, last.as_ref()).take(work::PIECE);
            all.extend(next.map(|(name, info)| (Arc::clone(name), Arc::clone(info))));
            if all.len() < before + work::PIECE {
                return all;
            }
        }
    }

    /// Has all other processes close the clients of `member`. Returns the ids of its clients in this process, which the
    /// caller closes.
    pub fn disconnect(&self, member: &str) -> Result<Vec<u64>, Error> {
        let told = self.engine.command(Command::Disconnect { member: member.into() });
        told.map_err(|Full(_)| self.unavailable())?;
        Ok(self.lock_current().presence.clients(member))
    }

    /// The ids of clients that another process wants to be closed. Each is given once.
    pub fn take_dismissed(&self) -> Vec<u64> {
        std::mem::take(&mut self.lock().dismissed)
    }

    /// Tells the engine of members that have come or gone, and does what that comes to, if the engine says so at once.
    fn tell(&self, state: &mut State, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        changes.into_iter().for_each(|change| state.presence.send(change, &*self.engine));
        self.take_events(state);
    }

    /// The engine says that a member has come or gone.
    fn apply(&self, log: &mut Log, presence: &mut Presence, change: Change) {
        let channel = Arc::clone(&change.channel);
        let Applied { announcement, joined } = presence.apply(change);
        // It comes after the change in the engine's order. Nothing waits: the log's lock is held.
        if let Some(announcement) = announcement
            && !self.announce(&announcement)
        {
            presence.keep_announcement(announcement);
        }
        if let Some(reader) = joined {
            let members = presence.members(&channel).map(|(name, info)| (Arc::clone(name), Arc::clone(info))).collect();
            log.notify(reader, Notice::Here { channel, members });
        }
    }

    /// Tells a channel's readers of a member. False if the engine takes no message for now.
    fn announce(&self, announcement: &Announcement) -> bool {
        let Announcement { channel, member, except, .. } = announcement;
        let payload = announcement.payload();
        let draft = Draft {
            kind: Kind::Server,
            event: EventName::Given(announcement.event()),
            store: false,
            except: *except,
            ..Draft::text(channel, payload.as_bytes())
        };
        match Message::new(&draft, &self.limits(), Instant::now()) {
            Ok(message) => self.submit(message).is_ok(),
            Err(error) => {
                log::warn!("{channel}: {member} could not be announced: {error}");
                true
            }
        }
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
        // One hold from the start of the subscription to the member's change: the reader misses no other change.
        let mut state = self.lock_current();
        let complete = state.log.subscribe(number, target, since, frames, now)?;
        if let Some(member) = member {
            let announced = matches!(target, Target::Channel(name) if state.log.policy(name).presence);
            let changes = state.presence.add(target.name(), member, announced, id, number, now);
            self.tell(&mut state, changes);
        }
        Ok(complete)
    }

    pub(super) fn unsubscribe(&self, number: u32, member: Option<u64>, target: Target<'_>, now: Instant) -> bool {
        let mut state = self.lock_current();
        let found = state.log.unsubscribe(number, target);
        if let (true, Some(id), Target::Channel(name)) = (found, member, target) {
            let changes = state.presence.remove(name, id, now);
            self.tell(&mut state, changes);
        }
        found
    }

    pub(super) fn detach(&self, number: u32, member: Option<u64>, now: Instant) {
        // A child must not: a thread that is not there may hold the lock.
        if self.forked() {
            return;
        }
        let mut state = self.lock();
        state.log.detach(number);
        if let Some(id) = member {
            let changes = state.presence.remove_client(id, now);
            self.tell(&mut state, changes);
        }
    }

    pub(super) fn batch_limit(&self) -> BatchLimit {
        let limits = self.limits();
        BatchLimit { messages: limits.batch_messages, bytes: limits.batch_bytes }
    }

    // ---- locks ---------------------------------------------------------------------------

    /// The log, without what is still in the engine.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let guard = self.state.lock();
        work::taken();
        guard
    }

    /// The log with everything that was published.
    fn lock_current(&self) -> MutexGuard<'_, State> {
        let mut guard = self.lock();
        self.take_events(&mut guard);
        guard
    }

    /// Does what the engine says, in its order.
    fn take_events(&self, state: &mut State) {
        let State { log, presence, events, dismissed } = state;
        if presence.has_pending() {
            self.retry(presence);
        }
        self.engine.take(events);
        if events.is_empty() {
            return;
        }
        for event in events.drain(..) {
            match event {
                Event::Message(message) => log.append(message),
                Event::Member(change) => self.apply(log, presence, change),
                Event::Disconnect { member } => dismissed.extend(presence.clients(&member)),
                Event::Lost { to } => log.lose(to),
                Event::Reset(reset) => {
                    log.rebase(*reset);
                    presence.reset(Instant::now());
                }
            }
        }
        self.open.store(log.channels.len(), Ordering::Relaxed);
    }

    /// Tells the engine what it has not taken before.
    fn retry(&self, presence: &mut Presence) {
        presence.retry(&*self.engine);
        while let Some(announcement) = presence.next_announcement() {
            if !self.announce(&announcement) {
                presence.keep_announcement(announcement);
                return;
            }
        }
    }
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channels").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}
