//! What a stream reads: messages for the mailbox, pings, and the end.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::task::{Ended, State, Stream};
use crate::base::stats::Stats;
use crate::net::read_buffer;
use crate::websocket::close::{CloseStatus, code};
use crate::websocket::decoder::Inflated;
use crate::websocket::{Incoming, Opcode, frame};

/// Reads before other tasks get their turn.
const READS_PER_TURN: usize = 8;

impl Stream {
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        if self.pipe.is_crowded_out(cx.waker()) {
            return Err(self.reset());
        }
        for _ in 0..READS_PER_TURN {
            if !self.takes_input() || self.stays_paused(now) {
                return if matches!(self.state, State::Broken { .. }) { Err(Ended) } else { Ok(()) };
            }
            // Before more is read, what was read must be decoded: an app thread may have made room since.
            if self.backlog {
                self.decode_unread(now);
                if self.backlog && !self.paused {
                    // Much was inflated. Other tasks get their turn first.
                    self.decoder.as_mut().into_iter().for_each(|decoder| decoder.begin_turn());
                    break;
                }
                continue;
            }
            if self.read_pending && !self.pipe.may_read() {
                return Ok(());
            }
            let read = self.read_once(cx, now);
            self.read_pending = read.is_pending();
            match read {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(ended)) => return Err(ended),
                Poll::Pending => return Ok(()),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn takes_input(&self) -> bool {
        match self.state {
            State::Handshake => false,
            State::Open | State::Broken { .. } | State::Ending { .. } | State::Closing(_) => self.input_end.is_none(),
            // What comes is dropped.
            State::Lingering { peer_ended, .. } => !peer_ended,
        }
    }

    fn decode_unread(&mut self, now: Instant) {
        let mut unread = self.unread.take().map_or_else(Bytes::new, |unread| *unread);
        let mut input = &unread[..];
        self.decode(&mut input, now);
        let left = input.len();
        unread.advance(unread.len() - left);
        self.unread = (!unread.is_empty()).then(|| Box::new(unread));
    }

    fn read_once(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<(), Ended>> {
        read_buffer::with(|buffer| {
            if ready!(self.pipe.poll_read(cx, buffer)).is_err() {
                return Poll::Ready(Err(Ended));
            }
            let mut input = buffer.filled();
            if input.is_empty() {
                let websocket = self.is_websocket();
                if let State::Lingering { fin_sent: false, peer_ended, .. } = &mut self.state
                    && websocket
                {
                    // It came right behind the client's Close frame, which is still to be answered.
                    *peer_ended = true;
                    return Poll::Ready(Ok(()));
                }
                if self.decoder.is_none() {
                    // The client has closed its side of an event stream, or answered the end of a WebSocket.
                    if !self.has_unsent() {
                        self.pipe.send_close_notify();
                    }
                    return Poll::Ready(Err(Ended));
                }
                self.end_input(CloseStatus::abnormal(), now);
                return Poll::Ready(Ok(()));
            }
            self.last_read_at = now;
            self.pinged_at = None;
            if let Some(record) = &mut self.record {
                record.traffic.bytes_in += input.len() as u64;
            }
            if !self.pipe.is_shared() {
                self.client.context().base.stats.bytes_in.add_many(input.len() as u64);
            }
            self.decode(&mut input, now);
            if !input.is_empty() {
                self.unread = Some(Box::new(Bytes::copy_from_slice(input)));
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Handles what is complete in `input`. Leaves the rest there only if the mailbox is full.
    fn decode(&mut self, input: &mut &[u8], now: Instant) {
        loop {
            let Some(decoder) = &mut self.decoder else {
                *input = &[];
                self.backlog = false;
                return;
            };
            match decoder.decode(input) {
                Ok(None) => {
                    self.backlog = !input.is_empty();
                    return;
                }
                Ok(Some(Incoming::Message(message))) => {
                    if let Some(record) = &mut self.record {
                        record.traffic.messages_in += 1;
                    }
                    let stats = &self.client.context().base.stats;
                    stats.messages_in.add();
                    if let Some(inflated) = decoder.take_inflated() {
                        count_inflated(stats, inflated);
                    }
                    // After `close`, handlers get no more messages.
                    if matches!(self.state, State::Open | State::Broken { .. }) {
                        self.paused = self.client.post_message(message);
                        if self.paused {
                            self.backlog = true;
                            return;
                        }
                    }
                }
                Ok(Some(Incoming::Ping(payload))) => {
                    if matches!(self.state, State::Open) {
                        self.queue.push_pong(&frame::control(Opcode::Pong, &payload));
                    }
                }
                Ok(Some(Incoming::Pong)) => {}
                Ok(Some(Incoming::Close(status))) => match &self.state {
                    State::Closing(ours) => {
                        let ours = ours.clone();
                        self.begin_linger(ours, now);
                    }
                    _ => self.abort(status, now),
                },
                Err(status) => {
                    log::debug!("{} is closed with {}: {}", self.client, status.code, status.reason);
                    if status.code == code::TOO_BIG {
                        self.client.context().base.stats.message_too_big.add();
                    }
                    self.end_input(status, now);
                }
            }
        }
    }

    /// Whether the mailbox was full and still is.
    fn stays_paused(&mut self, now: Instant) -> bool {
        if self.paused && !(matches!(self.state, State::Open | State::Broken { .. }) && self.client.is_full()) {
            self.paused = false;
            // A pong may have waited in the socket meanwhile. The deadlines begin anew.
            self.last_read_at = now;
            self.pinged_at = None;
        }
        self.paused
    }
}

/// Counts messages that came compressed.
#[cold]
fn count_inflated(stats: &Stats, inflated: Inflated) {
    stats.inflations.add_many(inflated.messages);
    stats.inflation_bytes_in.add_many(inflated.before);
    stats.inflation_bytes_out.add_many(inflated.after);
}
