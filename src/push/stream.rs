//! The socket side of a client: a task of the reactor.
//!
//! A stream owns its socket after the upgrade; hyper and its buffers are gone. It is one
//! hand-written future, because an idle stream should cost nothing but this struct: it borrows
//! the read buffer of its thread while it reads, and its deadlines lie in the common queue.

mod channels;
mod deadlines;
mod farewell;
mod input_end;
mod reading;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::outbox::{Bounds, Order};
use super::queue::{Frame, Outgoing, Queue, Sent};
use super::reader::ClientReader;
use super::{Client, Protocol};
use crate::access_log::{Entry, Outcome, Traffic};
use crate::base::timers::Alarm;
use crate::channel::Cursor;
use crate::sse;
use crate::websocket::Decoder;
use crate::websocket::close::CloseStatus;
use input_end::InputEnd;

/// A client's socket. Spawn it on the reactor; it ends with the connection.
pub struct Stream {
    client: Arc<Client>,
    socket: TcpStream,
    queue: Queue,
    /// What it reads of channels, once something is subscribed.
    feed: Option<Arc<ClientReader>>,
    /// Since when the socket has taken nothing of what waits.
    blocked: Option<Instant>,
    /// It was blocked since channels were read last.
    lagged: bool,
    /// Gone once nothing that comes in matters any more.
    decoder: Option<Box<Decoder>>,
    /// Read, but not decoded yet, because the mailbox is full.
    unread: Bytes,
    /// It will be woken when the socket has something: there was nothing when it was read last.
    listening: bool,
    /// There is more to decode, in `unread` or in the decoder's own buffer.
    backlog: bool,
    /// The mailbox is full: nothing is read until there is room.
    paused: bool,
    bounds: Bounds,
    state: State,
    /// Nothing more can come in.
    input_end: Option<InputEnd>,
    /// When the last byte came in.
    heard: Instant,
    /// When the last byte went out.
    spoke: Instant,
    /// When a ping was sent that is not answered.
    pinged: Option<Instant>,
    /// Bytes handed to the socket.
    handed: u64,
    /// How many of them the peer had acknowledged when it was looked last.
    acknowledged: u64,
    alarm: Alarm,
    /// The next deadline, as of the last turn.
    due: Option<Instant>,
    /// For the access log, if there is one.
    entry: Option<Entry>,
    traffic: Traffic,
    /// Bytes of the response's head that are not written yet.
    unsent_head: usize,
    /// Whatever must live as long as the socket (a place among the server's connections).
    _guard: Box<dyn Send + Sync>,
}

#[derive(Debug)]
enum State {
    /// The head of the response is being written.
    Handshake,
    Open,
    /// The app wants it closed; what was published before, up to `until`, is not all read yet.
    Ending {
        status: CloseStatus,
        until: Cursor,
    },
    /// Our Close frame is queued behind all that goes before it.
    Closing(CloseStatus),
    /// `on_close` has been told; what is left is to part politely.
    Lingering {
        until: Instant,
        fin_sent: bool,
    },
}

/// The stream has ended: the socket broke, the peer went or did not answer in time, or all is said.
/// What that means for the app follows from the state.
struct Ended;

impl Stream {
    /// A stream that writes `head` before the client's `on_open`; `unread` is what hyper had
    /// read beyond the request.
    pub fn new(
        client: Arc<Client>,
        socket: TcpStream,
        head: Bytes,
        unread: Bytes,
        entry: Option<Entry>,
        guard: Box<dyn Send + Sync>,
    ) -> Self {
        let mut queue = Queue::default();
        let unsent_head = head.len();
        let traffic = Traffic { bytes_in: unread.len() as u64, ..Traffic::default() };
        queue.push(Frame::own(head));
        let limits = &client.context().base.limits;
        let decoder = match client.protocol() {
            Protocol::WebSocket => Some(Box::new(Decoder::new(limits.max_message_size))),
            Protocol::Sse => {
                queue.push(Frame::own(sse::retry(client.context().reconnect_delay.pause())));
                None
            }
        };
        let now = client.context().base.timers.now();
        let alarm = client.context().base.timers.alarm();
        Stream {
            client,
            socket,
            queue,
            feed: None,
            blocked: None,
            lagged: false,
            decoder,
            backlog: !unread.is_empty(),
            unread,
            listening: false,
            paused: false,
            bounds: Bounds::default(),
            state: State::Handshake,
            input_end: None,
            heard: now,
            spoke: now,
            pinged: None,
            handed: 0,
            acknowledged: 0,
            alarm,
            due: None,
            entry,
            traffic,
            unsent_head,
            _guard: guard,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let now = self.client.context().base.timers.now();
        if let Err(ended) = self.take_orders(cx, now).and_then(|()| self.work(cx, now)) {
            return Poll::Ready(ended);
        }
        self.due = self.next_deadline();
        if let Some(deadline) = self.due {
            self.alarm.set(deadline, cx.waker());
        }
        Poll::Pending
    }

    fn work(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        // Read before looking at the clock: a pong may lie in the socket already.
        self.read(cx, now)?;
        if self.due.is_some_and(|due| due <= now) {
            self.keep_deadlines(cx, now)?;
        }
        self.flush(cx, now)?;
        self.close_after_input();
        Ok(())
    }

    fn take_orders(&mut self, cx: &Context<'_>, now: Instant) -> Result<(), Ended> {
        let (order, bounds) = self.client.collect(&mut self.queue, &mut self.feed, cx.waker());
        self.bounds = bounds;
        match order {
            Order::Close(status) if matches!(self.state, State::Open) => {
                self.spoke = now;
                let status = self.input_end.as_ref().map_or(status, |end| end.status.clone());
                match self.feed.as_ref().map(|feed| feed.last_message(&self.client)) {
                    Some(until) => self.state = State::Ending { status, until },
                    None => self.say_close(status),
                }
            }
            Order::CutSlow if matches!(self.state, State::Open) => self.cut_slow(now),
            // The client was being closed already.
            Order::CutSlow if matches!(self.state, State::Ending { .. } | State::Closing(_)) => {
                return Err(self.reset());
            }
            _ => {}
        }
        Ok(())
    }

    fn is_websocket(&self) -> bool {
        self.client.protocol() == Protocol::WebSocket
    }

    // ---- writing -------------------------------------------------------------------------

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        let read = self.queue.is_empty() && self.read_feed(cx, now);
        self.flush_queue(cx, now)?;
        // Once a turn.
        if !read && self.queue.is_empty() && self.read_feed(cx, now) {
            self.flush_queue(cx, now)?;
        }
        Ok(())
    }

    fn flush_queue(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        while !self.queue.is_empty() {
            let written = match self.queue.write(&mut self.socket, cx) {
                Poll::Ready(Ok(written)) if written > 0 => written,
                Poll::Ready(_) => return Err(Ended),
                Poll::Pending => return self.is_blocked(cx, now),
            };
            self.handed += written as u64;
            let sent = self.queue.advance(written);
            self.spoke = now;
            let was_blocked = self.blocked.take().is_some();
            self.count_sent(written, sent.writes);
            // Most of a broadcast is of no concern to the client.
            if sent != Sent::default() || was_blocked {
                self.bounds = self.client.sent(&sent);
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
                self.farewell(status, now);
                return self.flush_queue(cx, now);
            }
            State::Lingering { fin_sent, until } if !*fin_sent => {
                *fin_sent = true;
                // Cut as slow, but the socket took the Close frame after all.
                *until = (*until).max(now + farewell::LINGER);
                self.log_end();
                // The peer may be gone already; then reading ends the stream.
                let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Write);
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

    /// The socket takes nothing more for now.
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

    // ---- the access log ------------------------------------------------------------------

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

    /// Nothing more is said, or the stream has ended without a farewell.
    fn log_end(&mut self) {
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

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.step(cx).map(|Ended| ())
    }
}

impl Drop for Stream {
    /// However a stream ends, also with a panic or with the runtime, its client hears of it.
    fn drop(&mut self) {
        self.end();
        self.log_end();
    }
}
