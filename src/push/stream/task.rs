//! The task of a stream: its state, and what it does in a turn.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::pipe::Pipe;
use crate::access_log::{LogEntry, Traffic};
use crate::base::timers::{Alarm, Stamp};
use crate::net::Socket;
use crate::net::h2_stream::H2Stream;
use crate::push::fan_out::Parking;
use crate::push::outbox::{StreamBounds, StreamOrder};
use crate::push::queue::{Frame, Queue, Sent};
use crate::push::reader::{ClientReader, LastMessages};
use crate::push::{Client, Protocol};
use crate::websocket::Decoder;
use crate::websocket::close::CloseStatus;
use crate::websocket::deflate::Inflater;

/// The connection of a client: a task of the reactor, which ends when the connection ends. What is rare is boxed, because an idle
/// connection costs what this needs.
pub struct Stream {
    pub(super) client: Arc<Client>,
    pub(super) pipe: Pipe,
    pub(super) queue: Queue,
    /// How it reads channels, once the client has subscribed.
    pub(super) client_reader: Option<Arc<ClientReader>>,
    /// What the pipe has taken and may still hold back. Until it is flushed, nothing more is written.
    pub(super) unflushed: Option<Taken>,
    /// Since when the pipe has taken nothing, although something waits.
    pub(super) blocked: Option<Instant>,
    /// It has been blocked since channels were last read.
    pub(super) lagged: bool,
    /// When the newest message of channels was published that is queued or held back by the pipe.
    pub(super) delivers: Option<Stamp>,
    /// `None` for an event stream, and once what comes in does not matter any more.
    pub(super) decoder: Option<Box<Decoder>>,
    /// Bytes that are read but not decoded yet, because the mailbox is full.
    pub(super) unread: Option<Box<Bytes>>,
    /// The last read found nothing, so the task is woken when the pipe has something to read.
    pub(super) read_pending: bool,
    /// There is more to decode, in `unread` or in the decoder's own buffer.
    pub(super) backlog: bool,
    /// The mailbox is full: nothing is read until there is room.
    pub(super) paused: bool,
    pub(super) bounds: StreamBounds,
    pub(super) state: State,
    /// Set when nothing more can come in.
    pub(super) input_end: Option<Box<InputEnd>>,
    /// When the last byte came in.
    pub(super) last_read_at: Instant,
    /// When the last byte went out.
    pub(super) last_write_at: Instant,
    /// When a ping was queued that is not answered yet.
    pub(super) pinged_at: Option<Instant>,
    /// How many bytes the pipe has sent on.
    pub(super) bytes_written: u64,
    /// How many of them the peer had acknowledged when that was last looked up.
    pub(super) acknowledged: u64,
    pub(super) alarm: Alarm,
    pub(super) parking: Parking,
    /// The next deadline, as the last turn left it.
    pub(super) due: Option<Instant>,
    /// What the access log is told, if there is a log and the last line is not written.
    pub(super) record: Option<Box<Record>>,
    /// What must live as long as the connection: its permit, for instance.
    _guard: Box<dyn Send + Sync>,
}

#[derive(Debug)]
pub(super) enum State {
    /// The head of the response is being written.
    Handshake,
    Open,
    /// A write has failed: the peer is gone. What it has sent before is still read, up to the end.
    Broken {
        until: Instant,
    },
    /// The app has closed the client. The `last` messages, which were published before that, are not all read yet.
    Ending {
        status: CloseStatus,
        last: Box<LastMessages>,
    },
    /// Our Close frame is queued, behind everything that goes before it.
    Closing(CloseStatus),
    /// The app has been told of the end. What is queued is still sent, then FIN, and then the peer may close its side.
    Lingering {
        until: Instant,
        fin_sent: bool,
        /// The peer has closed its side already.
        peer_ended: bool,
    },
}

/// The stream has ended: the connection broke, the peer closed it or did not answer in time, or everything is sent.
/// The state says what that means for the app.
pub(super) struct Ended;

/// Why and until when a stream is in that state. It reads nothing more.
#[derive(Debug)]
pub(super) struct InputEnd {
    /// The status of the end, even if the app closes with another one later; 1006 if the peer has closed its side.
    pub(super) status: CloseStatus,
    /// When the connection is closed, even if a callback still runs.
    pub(super) deadline: Instant,
}

/// What the access log is told of a stream.
pub(super) struct Record {
    pub(super) entry: LogEntry,
    pub(super) traffic: Traffic,
    /// How many bytes of the response's head are not written yet.
    pub(super) unsent_head: usize,
}

impl Record {
    /// The pipe has sent on `bytes`, in which `writes` of the app have ended.
    pub(super) fn sent(&mut self, bytes: usize, writes: usize) {
        let head = bytes.min(self.unsent_head);
        self.unsent_head -= head;
        self.traffic.bytes_out += (bytes - head) as u64;
        self.traffic.messages_out += writes as u64;
    }
}

/// What a pipe has taken in one call.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) bytes: NonZeroUsize,
    /// What the client is told when the pipe has sent it on.
    pub(super) sent: Sent,
}

impl Stream {
    /// A stream that first writes `head`, then posts the client's `on_open`. `unread` is what was read behind the request.
    /// `guard` is dropped when the connection has ended.
    pub fn new(
        client: Arc<Client>,
        socket: Socket,
        head: Bytes,
        unread: Bytes,
        entry: Option<LogEntry>,
        guard: Box<dyn Send + Sync>,
    ) -> Self {
        Stream::over(Pipe::Socket(socket), client, head, unread, entry, guard)
    }

    /// A stream of an HTTP/2 connection, of which the head was sent already.
    pub fn over_h2(client: Arc<Client>, stream: H2Stream, entry: Option<LogEntry>) -> Self {
        Stream::over(Pipe::H2(stream), client, Bytes::new(), Bytes::new(), entry, Box::new(()))
    }

    pub(super) fn over(
        pipe: Pipe,
        client: Arc<Client>,
        head: Bytes,
        unread: Bytes,
        entry: Option<LogEntry>,
        guard: Box<dyn Send + Sync>,
    ) -> Self {
        let mut queue = Queue::default();
        let record = entry.map(|entry| {
            let traffic = Traffic { bytes_in: unread.len() as u64, ..Traffic::default() };
            Box::new(Record { entry, traffic, unsent_head: head.len() })
        });
        if !head.is_empty() {
            queue.push(Frame::own(head));
        }
        let limits = &client.context().base.limits;
        client.negotiated().push_greeting(&mut queue, || client.context().reconnect_delay.pause());
        let decoder = match client.protocol() {
            Protocol::WebSocket => {
                let (decoder, agreed) = (Decoder::new(limits.max_message_size), client.negotiated().deflate);
                let inflater = agreed.map(|agreed| Inflater::new(agreed.client_keeps_window));
                Some(Box::new(match inflater {
                    None => decoder,
                    Some(inflater) => decoder.inflating(inflater),
                }))
            }
            Protocol::Sse => None,
        };
        let now = client.context().base.timers.now();
        let alarm = client.context().base.timers.alarm();
        Stream {
            client,
            pipe,
            queue,
            client_reader: None,
            unflushed: None,
            blocked: None,
            lagged: false,
            delivers: None,
            decoder,
            backlog: !unread.is_empty(),
            unread: (!unread.is_empty()).then(|| Box::new(unread)),
            read_pending: false,
            paused: false,
            bounds: StreamBounds::default(),
            state: State::Handshake,
            input_end: None,
            last_read_at: now,
            last_write_at: now,
            pinged_at: None,
            bytes_written: 0,
            acknowledged: 0,
            alarm,
            parking: Parking::default(),
            due: None,
            record,
            _guard: guard,
        }
    }

    /// Starts the task. Inside the runtime.
    pub fn spawn(self) {
        // Here and nowhere else: a second caller would get a copy of the task's code, and neither would be inlined.
        tokio::spawn(self);
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let now = self.client.context().base.timers.now();
        if self.parking.is(Parking::PARKED) {
            self.unpark();
        }
        if let Err(ended) = self.take_order(cx, now).and_then(|()| self.work(cx, now)) {
            return Poll::Ready(ended);
        }
        self.due = self.next_deadline();
        if let Some(deadline) = self.due {
            self.alarm.set(deadline, cx.waker());
        }
        if self.client_reader.is_some() || self.parking.is(Parking::WRITTEN) {
            self.park(cx.waker());
        }
        Poll::Pending
    }

    fn work(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), Ended> {
        // Before the deadlines: a pong may have arrived already.
        self.read(cx, now)?;
        if self.due.is_some_and(|due| due <= now) {
            self.keep_deadlines(cx, now)?;
        }
        self.flush(cx, now)?;
        self.close_after_input();
        Ok(())
    }

    /// Takes what the app has written, and what it or the pressure on memory wants of the connection.
    fn take_order(&mut self, cx: &Context<'_>, now: Instant) -> Result<(), Ended> {
        let (order, bounds) = self.client.collect(&mut self.queue, &mut self.client_reader, cx.waker());
        self.bounds = bounds;
        if !self.queue.is_empty() && matches!(self.state, State::Open) {
            self.parking.set(Parking::WRITTEN, true);
        }
        match order {
            StreamOrder::Close(status) if matches!(self.state, State::Open) => {
                self.last_write_at = now;
                let status = self.input_end.as_ref().map_or(status, |end| end.status.clone());
                match self.client_reader.as_ref().map(|client_reader| client_reader.last_messages(&self.client)) {
                    Some(last) => self.state = State::Ending { status, last: Box::new(last) },
                    None => self.queue_close(status),
                }
            }
            StreamOrder::CutSlow if matches!(self.state, State::Open) => self.cut_slow(now),
            // The app had closed it already.
            StreamOrder::CutSlow if matches!(self.state, State::Ending { .. } | State::Closing(_)) => {
                return Err(self.reset());
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.client.protocol() == Protocol::WebSocket
    }
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.step(cx).map(|Ended| ())
    }
}

impl Drop for Stream {
    /// However a stream ends, even by a panic or with the runtime, its client is told.
    fn drop(&mut self) {
        // Before the socket is closed, because its descriptor is used again.
        self.leave_fan_out();
        self.end();
        self.log_end();
    }
}
