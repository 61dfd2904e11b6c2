//! How a stream sends, and what the client and the access log are told of it.

use std::num::NonZeroUsize;
use std::task::{Context, Poll};
use std::time::Instant;

use http::StatusCode;

use super::closing::LINGER;
use super::task::{Ended, State, Stream, Taken};
use crate::access_log::{RequestOutcome, Traffic};
use crate::push::Protocol;
use crate::push::queue::Sent;

impl Stream {
    /// Sends what is queued, and what channels have.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let read = !self.has_unsent() && self.read_channels(cx, now);
        self.flush_queue(cx, now)?;
        // At most once in a turn.
        if !read && !self.has_unsent() && self.read_channels(cx, now) {
            self.flush_queue(cx, now)?;
        }
        Ok(())
    }

    /// Whether something is queued, or held back by the pipe.
    pub(super) fn has_unsent(&self) -> bool {
        !self.queue.is_empty() || self.unflushed.is_some()
    }

    /// Has the pipe send on what it still holds back.
    #[cold]
    fn flush_rest(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Poll<()>, Ended> {
        let Some(taken) = self.unflushed.take() else { return Ok(Poll::Ready(())) };
        let flushed = self.flush_pipe(cx, now, taken)?;
        if flushed.is_pending() {
            self.is_blocked(cx, now)?;
        }
        Ok(flushed)
    }

    /// Sends what the pipe holds back, and what is queued.
    fn flush_queue(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        if self.unflushed.is_some() && self.flush_rest(cx, now)?.is_pending() {
            return Ok(());
        }
        while !self.queue.is_empty() {
            let bytes = match self.pipe.poll_write(cx, &self.queue) {
                Poll::Ready(written) => match written.ok().and_then(NonZeroUsize::new) {
                    Some(bytes) => bytes,
                    None => return self.break_off(cx, now),
                },
                Poll::Pending => return self.is_blocked(cx, now),
            };
            // A pipe that holds back takes more even if its peer takes nothing. Flushed after each write, it is blocked
            // as soon as its peer is.
            let taken = Taken { bytes, sent: self.queue.advance(bytes.get()) };
            if self.flush_pipe(cx, now, taken)?.is_pending() {
                return self.is_blocked(cx, now);
            }
        }
        if let Some(published) = self.delivers.take() {
            let base = &self.client.context().base;
            base.stats.delivery_time.observe(base.timers.stamp().microseconds_since(published));
        }
        match &mut self.state {
            State::Handshake => {
                self.state = State::Open;
                self.queue.shrink();
                self.log_upgrade();
                self.client.start();
                // Another turn for what came behind the request, and for what the app wants meanwhile.
                cx.waker().wake_by_ref();
            }
            // An event stream, or a WebSocket that has sent its Close frame or broken off: no answer is expected.
            State::Closing(status) if self.decoder.is_none() => {
                let status = status.clone();
                self.begin_linger(status, now);
                return self.flush_queue(cx, now);
            }
            State::Lingering { fin_sent, until, peer_ended } if !*fin_sent => {
                // An error means that the peer is gone. Then reading ends the stream.
                if self.pipe.poll_finish(cx).is_pending() {
                    return self.is_blocked(cx, now);
                }
                *fin_sent = true;
                // The client may have been cut as slow: `until` has passed, but the pipe took the Close frame after all.
                *until = (*until).max(now + LINGER);
                let peer_ended = *peer_ended;
                self.log_end();
                if peer_ended || !self.is_websocket() {
                    // A client of an event stream sends nothing back.
                    return Err(Ended);
                }
                cx.waker().wake_by_ref();
            }
            _ => {}
        }
        Ok(())
    }

    /// Has the pipe send on what it took, and tells the client so. Pending: it cannot do that now, or never. Each message of a
    /// broadcast comes here; the other caller is `flush_rest`, which is cold.
    #[inline(always)]
    fn flush_pipe(&mut self, cx: &mut Context<'_>, now: Instant, taken: Taken) -> Result<Poll<()>, Ended> {
        match self.pipe.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                self.break_off(cx, now)?;
                return Ok(Poll::Pending);
            }
            Poll::Pending => {
                self.unflushed = Some(taken);
                return Ok(Poll::Pending);
            }
        }
        let bytes = taken.bytes.get();
        self.bytes_written += bytes as u64;
        self.last_write_at = now;
        let was_blocked = self.blocked.take().is_some();
        self.count_sent(bytes, taken.sent.writes);
        // Messages of channels do not count as writes of the app: most broadcasts change nothing for the client.
        if taken.sent != Sent::default() || was_blocked {
            self.bounds = self.client.sent(&taken.sent);
        }
        Ok(Poll::Ready(()))
    }

    /// The pipe takes nothing for now, or never again.
    fn is_blocked(&mut self, cx: &Context<'_>, now: Instant) -> Result<(), Ended> {
        if matches!(self.state, State::Broken { .. }) {
            return Ok(());
        }
        if self.blocked.is_none() {
            self.blocked = Some(now);
            self.bounds = self.client.set_stalled(Some(now));
        }
        self.lagged = true;
        self.check_given_up(cx, now);
        match self.state {
            State::Lingering { until, .. } if until <= now => Err(self.reset()),
            _ => Ok(()),
        }
    }

    /// Counts bytes that the pipe has sent on, and the writes of the app that end in them.
    fn count_sent(&mut self, bytes: usize, writes: usize) {
        if let Some(record) = &mut self.record {
            record.sent(bytes, writes);
        }
        let stats = &self.client.context().base.stats;
        if !self.pipe.is_shared() {
            stats.bytes_out.add_many(bytes as u64);
        }
        stats.messages_out.add_many(writes as u64);
    }

    /// The handshake is written: logs the upgrade.
    fn log_upgrade(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.entry.log(&self.outcome(&record.traffic));
        self.record = Some(record);
    }

    /// How far the stream has come, for the access log.
    fn outcome(&self, traffic: &Traffic) -> RequestOutcome {
        let protocol = self.client.protocol();
        let upgrade = match protocol {
            Protocol::WebSocket => "websocket",
            Protocol::Sse => "sse",
        };
        RequestOutcome {
            status: Some(if self.pipe.is_shared() { StatusCode::OK } else { protocol.status() }),
            bytes: traffic.bytes_out,
            upgrade: Some(upgrade),
            ..RequestOutcome::default()
        }
    }

    /// Everything is sent, or the stream has ended early: logs the end.
    pub(super) fn log_end(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let mut outcome = self.outcome(&record.traffic);
        if matches!(self.state, State::Handshake) {
            outcome.cut = true;
        } else {
            let code = self.client.close_status().map(|status| status.code);
            outcome.closed = Some(Traffic { code, ..record.traffic.clone() });
        }
        record.entry.log(&outcome);
    }
}
