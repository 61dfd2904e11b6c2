//! What a stream sends, and what the client and the access log are told of it.

use std::task::{Context, Poll};
use std::time::Instant;

use http::StatusCode;

use super::closing::LINGER;
use super::task::{Ended, State, Stream, Unflushed};
use crate::access_log::{Outcome, Traffic};
use crate::push::Protocol;
use crate::push::queue::Sent;

impl Stream {
    /// Sends what is queued, and what channels have.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let read = !self.has_unsent() && self.read_feed(cx, now);
        self.flush_queue(cx, now)?;
        // Once a turn.
        if !read && !self.has_unsent() && self.read_feed(cx, now) {
            self.flush_queue(cx, now)?;
        }
        Ok(())
    }

    /// Whether something is queued, or held back by the pipe.
    pub(super) fn has_unsent(&self) -> bool {
        !self.queue.is_empty() || self.unflushed.is_some()
    }

    fn flush_queue(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        loop {
            // A pipe that holds back would take more, though its peer takes nothing: flushed after each write, it is
            // blocked when its peer is.
            if self.unflushed.is_some() {
                match self.pipe.poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.flushed(now),
                    Poll::Ready(Err(_)) => return Err(Ended),
                    Poll::Pending => return self.is_blocked(cx, now),
                }
            }
            if self.queue.is_empty() {
                break;
            }
            match self.pipe.poll_write(cx, &self.queue) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.unflushed = Some(Unflushed { bytes, sent: self.queue.advance(bytes) });
                }
                Poll::Ready(_) => return Err(Ended),
                Poll::Pending => return self.is_blocked(cx, now),
            }
        }
        match &mut self.state {
            State::Handshake => {
                self.state = State::Open;
                self.log_upgrade();
                self.client.start();
                // Whatever came in behind the request, and whatever was asked meanwhile.
                cx.waker().wake_by_ref();
            }
            // No answer is expected.
            State::Closing(status) if self.decoder.is_none() => {
                let status = status.clone();
                self.begin_linger(status, now);
                return self.flush_queue(cx, now);
            }
            State::Lingering { fin_sent, until } if !*fin_sent => {
                // The peer may be gone already; then reading ends the stream.
                if self.pipe.poll_finish(cx).is_pending() {
                    return self.is_blocked(cx, now);
                }
                *fin_sent = true;
                // Cut as slow, but the socket took the Close frame after all.
                *until = (*until).max(now + LINGER);
                self.log_end();
                if !self.is_websocket() {
                    // Nothing is expected back.
                    return Err(Ended);
                }
                cx.waker().wake_by_ref();
            }
            _ => {}
        }
        Ok(())
    }

    /// The pipe has sent on what it took.
    fn flushed(&mut self, now: Instant) {
        let Some(Unflushed { bytes, sent }) = self.unflushed.take() else { return };
        self.bytes_written += bytes as u64;
        self.last_write_at = now;
        let was_blocked = self.blocked.take().is_some();
        self.count_sent(bytes, sent.writes);
        // Most of a broadcast is of no concern to the client.
        if sent != Sent::default() || was_blocked {
            self.bounds = self.client.sent(&sent);
        }
    }

    /// The pipe takes nothing more for now.
    fn is_blocked(&mut self, cx: &Context<'_>, now: Instant) -> Result<(), Ended> {
        if self.blocked.is_none() {
            self.blocked = Some(now);
            self.bounds = self.client.set_stalled(Some(now));
        }
        self.lagged = true;
        self.check_feed(cx, now);
        match self.state {
            State::Lingering { until, .. } if until <= now => Err(self.reset()),
            _ => Ok(()),
        }
    }

    fn count_sent(&mut self, bytes: usize, writes: usize) {
        let head = bytes.min(self.unsent_head);
        self.unsent_head -= head;
        self.traffic.bytes_out += (bytes - head) as u64;
        self.traffic.messages_out += writes as u64;
        let stats = &self.client.context().base.stats;
        stats.bytes_out.add_many(bytes as u64);
        stats.messages_out.add_many(writes as u64);
    }

    /// The handshake is written.
    fn log_upgrade(&mut self) {
        let outcome = self.outcome();
        if let Some(entry) = &mut self.entry {
            entry.log(&outcome);
        }
    }

    /// How far the stream has come, for the access log.
    fn outcome(&self) -> Outcome {
        let (status, upgrade) = match self.client.protocol() {
            Protocol::WebSocket => (StatusCode::SWITCHING_PROTOCOLS, "websocket"),
            Protocol::Sse => (StatusCode::OK, "sse"),
        };
        Outcome { status: Some(status), bytes: self.traffic.bytes_out, upgrade: Some(upgrade), ..Outcome::default() }
    }

    /// Nothing more is said, or the stream has ended without a Close frame.
    pub(super) fn log_end(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        let mut outcome = self.outcome();
        if matches!(self.state, State::Handshake) {
            outcome.cut = true;
        } else {
            let code = self.client.close_status().map(|status| status.code);
            outcome.closed = Some(Traffic { code, ..self.traffic.clone() });
        }
        entry.log(&outcome);
    }
}
