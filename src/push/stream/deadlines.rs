//! A stream's deadlines: pings and pongs, heartbeats, slow clients, lingering.

use std::task::Context;
use std::time::Instant;

use rustix::event::PollFlags;

use super::task::{Ended, State, Stream};
use crate::push::queue::Frame;

impl Stream {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let limits = &self.client.context().base.limits;
        match &self.state {
            State::Handshake => Some(self.last_write_at + limits.close_timeout),
            State::Ending { .. } | State::Closing(_) => {
                let deadline = self.last_write_at + limits.close_timeout;
                Some(self.input_end.as_ref().map_or(deadline, |end| end.deadline.min(deadline)))
            }
            State::Broken { until } | State::Lingering { until, .. } => Some(*until),
            State::Open => {
                let input = self.input_end.as_ref().map(|end| end.deadline);
                [self.idle_deadline(), self.bounds.slow_at, self.stall_deadline(), input].into_iter().flatten().min()
            }
        }
    }

    /// When to send a ping or a heartbeat, or to stop waiting for a pong.
    pub(super) fn idle_deadline(&self) -> Option<Instant> {
        let interval = self.bounds.interval?;
        match self.pinged_at {
            _ if !self.client.negotiated().answers_heartbeats() => Some(self.last_write_at + interval),
            // The stream reads nothing any more, so it would not see a pong.
            _ if self.input_end.is_some() => None,
            // The stream does not read now, so it would not see a pong.
            _ if self.paused => None,
            // The ping may wait behind what the pipe has not taken.
            Some(pinged) => Some(pinged.max(self.last_write_at) + self.client.context().base.limits.pong_timeout),
            None => Some(self.last_read_at + interval),
        }
    }

    pub(super) fn keep_deadlines(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        // After the whole process was stopped for a while, the reactor sees deadlines before it sees sockets.
        if self.is_about_to_move() {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        let deadline = self.next_deadline();
        match self.state {
            State::Open => {
                if passed(self.bounds.slow_at) {
                    self.cut_slow(now);
                } else if passed(self.stall_deadline()) {
                    self.stall(now);
                } else if passed(self.idle_deadline()) {
                    self.on_idle(now)?;
                } else if let Some(end) = self.input_end.take_if(|end| end.deadline <= now) {
                    // A callback has not returned, or what it wrote was not sent in time.
                    self.abort(end.status, now);
                }
            }
            // The engine has not numbered all that was published before the app closed the client. The rest goes out.
            State::Ending { ref mut last, .. } if passed(deadline) && !last.are_numbered() => {
                last.stop_waiting(&self.client);
                self.last_write_at = now;
            }
            State::Handshake | State::Ending { .. } | State::Closing(_) if passed(deadline) => {
                return Err(self.reset());
            }
            State::Broken { .. } | State::Lingering { fin_sent: true, .. } if passed(deadline) => return Err(Ended),
            _ => {}
        }
        Ok(())
    }

    /// Whether what the deadlines wait for is there already, although the reactor does not know it yet.
    fn is_about_to_move(&self) -> bool {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::OUT, self.blocked.is_some());
        interest.set(PollFlags::IN, self.pinged_at.is_some() && !self.paused);
        self.pipe.is_ready(interest)
    }

    pub(super) fn on_idle(&mut self, now: Instant) -> Result<(), Ended> {
        if !self.client.negotiated().answers_heartbeats() {
            // To what waits for the pipe, a heartbeat would add nothing.
            if !self.has_unsent() {
                self.queue.push(Frame::own(self.client.negotiated().heartbeat()));
            }
            self.last_write_at = now;
        } else if self.pinged_at.is_some() && self.makes_progress() {
            // A slow link: the ping may still be behind other bytes in the kernel.
            self.pinged_at = Some(now);
        } else if self.pinged_at.is_some() {
            log::debug!("{} sent no pong in time: its connection is reset", self.client);
            self.client.context().base.stats.pong_timeouts.add();
            return Err(self.reset());
        } else {
            self.queue.push_ping(self.client.negotiated().heartbeat());
            self.pinged_at = Some(now);
            self.acknowledged = self.count_acknowledged();
        }
        Ok(())
    }

    /// Whether the peer has acknowledged more than when that was last looked up, but not everything. Then the ping may
    /// not have reached it.
    pub(super) fn makes_progress(&mut self) -> bool {
        let acknowledged = self.count_acknowledged();
        let before = std::mem::replace(&mut self.acknowledged, acknowledged);
        acknowledged > before && (acknowledged < self.bytes_written || self.has_unsent())
    }

    /// How many bytes the peer has acknowledged. Where that is unknown: how many were written.
    fn count_acknowledged(&self) -> u64 {
        self.bytes_written.saturating_sub(self.pipe.unacknowledged().unwrap_or(0))
    }

    /// When the client is too slow in taking what channels have for it.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        let since = self.blocked.filter(|_| self.client_reader.is_some())?;
        Some(since + self.client.context().base.limits.slow_timeout)
    }

    /// It has taken nothing for `slow_timeout`.
    pub(super) fn stall(&mut self, now: Instant) {
        if self.client_reader.as_ref().is_some_and(|client_reader| !client_reader.stalled()) {
            self.cut_slow(now);
        } else {
            // It may lag further, or has skipped what it lagged by.
            self.blocked = Some(now);
        }
    }
}
