//! How a stream ends, and what the peer and the app are told.

use std::task::Context;
use std::time::{Duration, Instant};

use super::task::{Ended, State, Stream};
use crate::push::queue::Queue;
use crate::websocket::close::{CloseStatus, code};

/// How long a closed WebSocket is still read. A socket that is closed with unread bytes is reset, and a reset may take
/// the Close frame away from the peer (RFC 6455 section 7.1.1).
pub(super) const LINGER: Duration = Duration::from_secs(2);

impl Stream {
    /// The server stops: tells the client when to reconnect. The delays differ, so that not all clients reconnect at once.
    pub(super) fn send_retry(&mut self) {
        let pause = self.client.context().reconnect_delay.pause();
        self.client.negotiated().push_retry(&mut self.queue, pause);
    }

    /// Closes with `status`, behind what is queued.
    pub(super) fn queue_close(&mut self, status: CloseStatus) {
        if !self.client.context().base.lifecycle.serving() {
            self.send_retry();
        }
        self.client.take_goodbye().into_iter().for_each(|frame| self.queue.push(frame));
        self.client.negotiated().push_close(&mut self.queue, &status);
        self.state = State::Closing(status);
    }

    /// Drops what is queued, and closes with `status`, which `on_close` sees.
    pub(super) fn abort(&mut self, status: CloseStatus, now: Instant) {
        self.queue.drop_unsent();
        self.client.negotiated().push_close(&mut self.queue, &status);
        self.begin_linger(status, now);
    }

    /// Tells the app of the end. What is queued is still sent, and what comes is read for a while.
    pub(super) fn begin_linger(&mut self, status: CloseStatus, now: Instant) {
        self.client.finish(Some(status));
        self.client_reader = None;
        self.decoder = None;
        self.unread = None;
        self.state = State::Lingering { until: now + LINGER, fin_sent: false, peer_ended: false };
    }

    /// Closes a client that channels have given up. It gets a Close frame if its pipe takes that soon.
    pub(super) fn give_up(&mut self, now: Instant) {
        log::debug!("{} is closed: it lags by more than the channels' memory can keep", self.client);
        self.client.context().base.stats.slow_clients.add();
        self.abort(CloseStatus::new(code::TRY_AGAIN, "too slow"), now);
    }

    pub(super) fn cut_slow(&mut self, now: Instant) {
        log::debug!("{} is slow: closing it", self.client);
        self.client.context().base.stats.slow_clients.add();
        self.abort(CloseStatus::new(code::TRY_AGAIN, "too slow"), now);
        // If the pipe does not take the Close frame at once, the connection is reset.
        self.state = State::Lingering { until: now, fin_sent: false, peer_ended: false };
    }

    /// A write has failed: the peer is gone. What it has sent before is there already, although the reactor may not know
    /// that yet, and it may say how the stream has ended. So it is read before the stream ends.
    #[cold]
    pub(super) fn break_off(&mut self, cx: &Context<'_>, now: Instant) -> Result<(), Ended> {
        match self.state {
            State::Open if self.decoder.is_some() && !self.paused => {
                self.blocked = None;
                self.pinged_at = None;
                self.state = State::Broken { until: now + self.client.context().base.limits.close_timeout };
                cx.waker().wake_by_ref();
            }
            // The app has written more meanwhile.
            State::Broken { .. } => {}
            _ => return Err(Ended),
        }
        self.queue = Queue::default();
        Ok(())
    }

    /// Ends the connection with a reset. The peer learns of it at once, and the kernel drops what it still holds.
    pub(super) fn reset(&mut self) -> Ended {
        self.pipe.reset();
        Ended
    }

    /// Tells the client of the end, if it has not been told.
    pub(super) fn end(&mut self) {
        match &self.state {
            State::Handshake => self.client.abandon(),
            State::Ending { status, .. } | State::Closing(status) => self.client.finish(Some(status.clone())),
            State::Open | State::Broken { .. } | State::Lingering { .. } => {
                let ended = self.input_end.as_ref().map(|end| end.status.clone());
                self.client.finish(Some(ended.unwrap_or_else(CloseStatus::abnormal)));
            }
        }
    }
}
