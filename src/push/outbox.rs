//! What an app has written to a client and asked of it, on its way to the client's stream.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::close::CloseStatus;
use super::feed::Feed;
use super::outgoing::{Frame, Queue, Sent};
use super::{Context, SlowPolicy};

/// What was written and what was asked for; under one lock, so that a close is after the writes
/// before it.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) phase: Phase,
    /// Written by the app, not yet taken by the stream.
    frames: Vec<Frame>,
    /// Of writes that are not yet handed to the socket, whoever holds them.
    pub(super) queued: Sent,
    /// When the socket last took a byte, or when the first byte began to wait.
    progress: Instant,
    pub(super) interval: Option<Duration>,
    pub(super) close_status: Option<CloseStatus>,
    /// The stream's task, while it is not going to look here by itself.
    pub(super) stream: Option<Waker>,
    /// What it reads of channels; `None` until it subscribes, and again at the end.
    pub(super) feed: Option<Arc<Feed>>,
    /// The first subscriptions are complete.
    pub(super) opened: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closing(CloseStatus),
    Slow,
    Closed,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Accepted,
    Refused,
    /// Refused, and the client is cut for it.
    TooSlow,
}

/// What a stream's deadlines depend on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    /// Of pings or heartbeats; `None` is off.
    pub(super) interval: Option<Duration>,
    /// When the client becomes slow unless its socket takes something; `None` if little waits.
    pub(super) slow_at: Option<Instant>,
}

/// What the stream has to do, as found on its client.
#[derive(Debug)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Send what is queued, then close.
    Close(CloseStatus),
    /// Drop what is queued and close with 1013.
    CutSlow,
}

impl Outbox {
    pub(super) fn new(interval: Option<Duration>, now: Instant) -> Self {
        Outbox {
            phase: Phase::Open,
            frames: Vec::new(),
            queued: Sent::default(),
            progress: now,
            interval,
            close_status: None,
            stream: None,
            feed: None,
            opened: false,
        }
    }

    /// Adds one write, `more` of which there mostly is none, of `bytes` in all.
    pub(super) fn write(&mut self, first: Option<Frame>, more: Vec<Frame>, bytes: usize, context: &Context) -> Written {
        if self.phase != Phase::Open {
            return Written::Refused;
        }
        let now = context.timers.now();
        if self.queued.bytes == 0 {
            // One message is always accepted when nothing waits.
            self.progress = now;
        } else if self.queued.bytes + bytes > context.limits.max_queued_bytes || self.stalled(context, now) {
            if context.slow_policy == SlowPolicy::Reject {
                return Written::Refused;
            }
            self.phase = Phase::Slow;
            return Written::TooSlow;
        }
        self.queued.writes += 1;
        self.queued.bytes += bytes;
        self.frames.extend(first);
        self.frames.extend(more);
        Written::Accepted
    }

    /// Gives the stream what was written since the last time.
    pub(super) fn empty_into(&mut self, queue: &mut Queue) {
        for frame in self.frames.drain(..) {
            queue.push(frame);
        }
        // A burst must not leave its memory behind with an idle stream.
        if self.frames.capacity() > 64 {
            self.frames = Vec::new();
        }
    }

    /// What was asked for.
    pub(super) fn order(&self) -> Order {
        match &self.phase {
            Phase::Closing(status) => Order::Close(status.clone()),
            Phase::Slow => Order::CutSlow,
            Phase::Open | Phase::Closed => Order::Serve,
        }
    }

    /// The socket took something. Whether it has taken the last of what was written.
    pub(super) fn sent(&mut self, sent: &Sent, now: Instant) -> bool {
        self.progress = now;
        self.queued.bytes = self.queued.bytes.saturating_sub(sent.bytes);
        self.queued.writes = self.queued.writes.saturating_sub(sent.writes);
        sent.writes > 0 && self.queued.writes == 0
    }

    /// The end: nothing more goes in or out. The feed must be dropped without the outbox's lock.
    pub(super) fn shut(&mut self) -> Option<Arc<Feed>> {
        self.phase = Phase::Closed;
        self.frames = Vec::new();
        self.feed.take()
    }

    /// What the stream's deadlines depend on.
    pub(super) fn bounds(&self, context: &Context) -> Bounds {
        let limits = &context.limits;
        let waits = self.queued.bytes > limits.slow_bytes && context.slow_policy == SlowPolicy::Close;
        Bounds { interval: self.interval, slow_at: waits.then(|| self.progress + limits.slow_timeout) }
    }

    /// Whether much waits and the socket has taken nothing for too long.
    fn stalled(&self, context: &Context, now: Instant) -> bool {
        self.queued.bytes > context.limits.slow_bytes
            && now.saturating_duration_since(self.progress) >= context.limits.slow_timeout
    }
}
