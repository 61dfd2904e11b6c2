//! A stream's deadlines: pings and pongs, heartbeats, clients that do not take what is sent, and lingering.

use std::task::Context;
use std::time::Instant;

use rustix::event::PollFlags;

use super::task::{Ended, State, Stream};
use crate::push::queue::Frame;
use crate::sse;
use crate::websocket::{Opcode, frame};

impl Stream {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let limits = &self.client.context().base.limits;
        match &self.state {
            State::Handshake => Some(self.last_write_at + limits.close_timeout),
            State::Ending { .. } | State::Closing(_) => {
                let deadline = self.last_write_at + limits.close_timeout;
                Some(self.input_end.as_ref().map_or(deadline, |end| end.deadline.min(deadline)))
            }
            State::Lingering { until, .. } => Some(*until),
            State::Open => {
                let input = self.input_end.as_ref().map(|end| end.deadline);
                [self.idle_deadline(), self.bounds.slow_at, self.stall_deadline(), input].into_iter().flatten().min()
            }
        }
    }

    /// When to ping, to give up waiting for a pong, or to send a heartbeat.
    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        let interval = self.bounds.interval?;
        match self.pinged {
            _ if !self.is_websocket() => Some(self.last_write_at + interval),
            // Nothing is read any more, so a pong would not be seen.
            _ if self.input_end.is_some() => None,
            // Nobody reads: a pong could not be seen.
            _ if self.paused => None,
            // The ping may still stand behind what the socket has not taken.
            Some(pinged) => Some(pinged.max(self.last_write_at) + self.client.context().base.limits.pong_timeout),
            None => Some(self.last_read_at + interval),
        }
    }

    pub(super) fn keep_deadlines(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        // When the whole process has stood still, the reactor hears of deadlines before it hears of sockets.
        if self.is_about_to_move() {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        match self.state {
            State::Open => {
                if passed(self.bounds.slow_at) {
                    self.cut_slow(now);
                } else if passed(self.stall_deadline()) {
                    self.stall(now);
                } else if passed(self.idle_deadline()) {
                    self.on_idle(now)?;
                } else if let Some(end) = self.input_end.take_if(|end| end.deadline <= now) {
                    // A callback has not ended, or what it wrote was not sent in time.
                    self.abort(end.status, now);
                }
            }
            State::Handshake | State::Ending { .. } | State::Closing(_) if passed(self.next_deadline()) => {
                return Err(self.reset());
            }
            State::Lingering { fin_sent: true, .. } if passed(self.next_deadline()) => return Err(Ended),
            _ => {}
        }
        Ok(())
    }

    /// Whether the socket has what is waited for, although the reactor does not know it yet.
    fn is_about_to_move(&self) -> bool {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::OUT, self.blocked.is_some());
        interest.set(PollFlags::IN, self.pinged.is_some() && !self.paused);
        self.pipe.is_ready(interest)
    }

    pub(super) fn on_idle(&mut self, now: Instant) -> Result<(), Ended> {
        if !self.is_websocket() {
            // A socket that takes nothing needs no more to take.
            if !self.has_unsent() {
                self.queue.push(Frame::own(sse::heartbeat()));
            }
            self.last_write_at = now;
        } else if self.pinged.is_some() && self.makes_progress() {
            // A slow link: the ping has not got through what the kernel holds.
            self.pinged = Some(now);
        } else if self.pinged.is_some() {
            log::debug!("{} sent no pong in time: its connection is reset", self.client);
            self.client.context().base.stats.pong_timeouts.add();
            return Err(self.reset());
        } else {
            self.queue.push_ping(frame::control(Opcode::Ping, &[]));
            self.pinged = Some(now);
            self.acknowledged = self.count_acknowledged();
        }
        Ok(())
    }

    /// Whether the peer has acknowledged more than when it was looked last, but not all: then a
    /// ping may not have got through to it.
    pub(super) fn makes_progress(&mut self) -> bool {
        let acknowledged = self.count_acknowledged();
        let before = std::mem::replace(&mut self.acknowledged, acknowledged);
        acknowledged > before && (acknowledged < self.bytes_written || self.has_unsent())
    }

    /// How much of what was written the peer has acknowledged. If that is unknown, what was written counts.
    fn count_acknowledged(&self) -> u64 {
        self.bytes_written.saturating_sub(self.pipe.unacknowledged().unwrap_or(0))
    }

    /// When the client is slow in taking what channels have for it.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        let since = self.blocked.filter(|_| self.feed.is_some())?;
        Some(since + self.client.context().base.limits.slow_timeout)
    }

    /// It has taken nothing for the stall time.
    pub(super) fn stall(&mut self, now: Instant) {
        if self.feed.as_ref().is_some_and(|feed| !feed.stalled()) {
            self.cut_slow(now);
        } else {
            // It may lag some more, or has skipped what it lagged by.
            self.blocked = Some(now);
        }
    }
}
