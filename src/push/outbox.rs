//! What the app has written to a client or asked for (such as a close), on its way to the client's stream.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::fan_out::Outlet;
use super::inflaters::InflaterPlace;
use super::queue::{Frame, Queue, Sent};
use super::reader::ClientReader;
use super::{Context, SlowPolicy, pressure};
use crate::websocket::close::CloseStatus;

/// What was written and what was asked for. Both are under one lock, so that a close comes after the writes that were
/// made before it.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) phase: ClientPhase,
    /// Written by the app, not yet taken by the stream.
    frames: Vec<Frame>,
    /// Writes that the socket has not taken yet. They are here or in the stream's queue.
    pub(super) queued: Sent,
    /// Since when the client has taken nothing of what waits, as the reactor saw it. `None` if it takes something, or
    /// was not offered anything yet. A write must not set this: the clock of the reactor stands still between its
    /// turns.
    stalled_since: Option<Instant>,
    /// Bytes that are kept for the client, as [`super::pressure`] counts them.
    pub(super) kept: usize,
    pub(super) interval: Option<Duration>,
    /// Boxed, as that of the phase: idle clients have none.
    pub(super) close_status: Option<Box<CloseStatus>>,
    /// The client was dismissed, and has not been told so.
    pub(super) owes_goodbye: bool,
    /// The stream's task, unless it has been woken and will look here anyway.
    pub(super) stream: Option<Waker>,
    /// The stream's number in [`super::fan_out`].
    pub(super) outlet: Option<Outlet>,
    /// It is on the fan-out's list of streams to which the app has written.
    pub(super) listed: bool,
    /// The client's reader of channels. `None` until the client subscribes, and again at the end.
    pub(super) client_reader: Option<Arc<ClientReader>>,
    /// The first subscriptions are complete.
    pub(super) opened: bool,
    /// The replay of the first subscriptions has begun. Only for long polls.
    pub(super) replaying: bool,
    /// For a client that refers to its earlier messages when it compresses.
    pub(super) place: Option<InflaterPlace>,
    /// Nothing more can come from the client, so further subscriptions are refused.
    pub(super) input_ended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientPhase {
    Open,
    Closing(Box<CloseStatus>),
    Slow,
    Closed,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Accepted,
    Refused,
    /// Refused, and the client is closed because of it.
    TooSlow,
}

/// What a stream's deadlines depend on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StreamBounds {
    /// Of pings or heartbeats; `None` is off.
    pub(super) interval: Option<Duration>,
    /// When the client becomes slow unless its socket takes something; `None` if little waits.
    pub(super) slow_at: Option<Instant>,
}

/// What a stream has to do, as it finds when it looks at its client.
#[derive(Debug)]
pub(super) enum StreamOrder {
    /// Go on.
    Serve {
        /// For a client that polls: the first callback has returned, and all that it wrote and subscribed was
        /// collected.
        opened: bool,
    },
    /// Send what is queued, then close.
    Close(CloseStatus),
    /// Drop what is queued and close with 1013.
    CutSlow,
}

impl Outbox {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Outbox {
            phase: ClientPhase::Open,
            frames: Vec::new(),
            queued: Sent::default(),
            stalled_since: None,
            kept: 0,
            interval,
            close_status: None,
            owes_goodbye: false,
            stream: None,
            outlet: None,
            listed: false,
            client_reader: None,
            opened: false,
            replaying: false,
            place: None,
            input_ended: false,
        }
    }

    /// Adds one write of `bytes` bytes.
    pub(super) fn write(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
        bytes: usize,
        context: &Context,
    ) -> Written {
        if self.phase != ClientPhase::Open {
            return Written::Refused;
        }
        // One message is always accepted when nothing waits.
        if self.queued.bytes > 0
            && (self.queued.bytes + bytes > context.base.limits.max_queued_bytes || self.rejects(context))
        {
            if context.slow_policy == SlowPolicy::Reject {
                return Written::Refused;
            }
            self.phase = ClientPhase::Slow;
            return Written::TooSlow;
        }
        let cost = pressure::cost(1, bytes);
        self.kept += cost;
        context.pressure.add(cost);
        self.queued.writes += 1;
        self.queued.bytes += bytes;
        // Vec would have room for four.
        if self.frames.capacity() == 0 {
            self.frames.reserve_exact(1);
        }
        self.frames.extend(frames);
        Written::Accepted
    }

    /// Gives the stream what was written since the last time.
    pub(super) fn empty_into(&mut self, queue: &mut Queue) {
        self.empty(|frame| queue.push(frame));
    }

    /// Gives `sink` what was written since the last time.
    pub(super) fn empty(&mut self, sink: impl FnMut(Frame)) {
        self.frames.drain(..).for_each(sink);
        // A burst must not leave its memory behind with an idle stream.
        if self.frames.capacity() > 64 {
            self.frames = Vec::new();
        }
    }

    /// What was asked for.
    pub(super) fn order(&self) -> StreamOrder {
        match &self.phase {
            ClientPhase::Closing(status) => StreamOrder::Close((**status).clone()),
            ClientPhase::Slow => StreamOrder::CutSlow,
            ClientPhase::Open | ClientPhase::Closed => StreamOrder::Serve { opened: self.replaying },
        }
    }

    /// The client took something. Returns whether that was the last of what was written, and whether the client was
    /// stalled before.
    pub(super) fn sent(&mut self, sent: &Sent) -> (bool, bool) {
        let stalled = self.stalled_since.take().is_some();
        self.queued.bytes = self.queued.bytes.saturating_sub(sent.bytes);
        self.queued.writes = self.queued.writes.saturating_sub(sent.writes);
        (sent.writes > 0 && self.queued.writes == 0, stalled)
    }

    /// The end: nothing more goes in or out. The reader must be dropped after the outbox's lock is released.
    pub(super) fn shut(&mut self) -> Option<Arc<ClientReader>> {
        self.phase = ClientPhase::Closed;
        self.frames = Vec::new();
        self.place = None;
        self.client_reader.take()
    }

    /// The client takes nothing since then; `None` if it could take something again. Returns whether that is new.
    pub(super) fn set_stalled(&mut self, since: Option<Instant>) -> bool {
        let changed = self.stalled_since.is_some() != since.is_some();
        self.stalled_since = since.map(|now| self.stalled_since.unwrap_or(now));
        changed
    }

    /// Since when the client has taken nothing of what waits; `None` if it takes something.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// What the stream's deadlines depend on.
    pub(super) fn bounds(&self, context: &Context) -> StreamBounds {
        let slow_at = self.slow_at(context).filter(|_| context.slow_policy == SlowPolicy::Close);
        StreamBounds { interval: self.interval, slow_at }
    }

    /// When the client becomes slow unless it takes something.
    fn slow_at(&self, context: &Context) -> Option<Instant> {
        let since = self.stalled_since.filter(|_| self.queued.bytes > context.base.limits.slow_bytes)?;
        Some(since + context.base.limits.slow_timeout)
    }

    /// Whether a write to a slow client is refused. Any thread may ask, so this takes the system's time. (Closing a
    /// slow client is up to its stream.)
    fn rejects(&self, context: &Context) -> bool {
        // The last of max_queued_total is for clients that take what they are sent.
        let crowded = || self.stalled_since.is_some() && context.pressure.is_high();
        context.slow_policy == SlowPolicy::Reject
            && (crowded() || self.slow_at(context).is_some_and(|at| at <= Instant::now()))
    }
}
