//! One push connection as the app sees it.
//!
//! All methods may be called from any thread, and none waits for the socket: writes go into the outbox, from which the
//! client's [`super::stream`] takes them.

mod carrier;
#[cfg(test)]
mod forked;
mod handler;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::inflaters::InflaterPlace;
use super::last_write::LastWrite;
use super::mailbox::{EventInterest, Mailbox};
use super::outbox::{ClientPhase, Outbox, Written};
use super::queue::{Frame, Origin};
use super::reader::ClientReader;
use super::{Context, Negotiated, Protocol};
use crate::base::in_flight::InFlightGuard;
use crate::base::lock::Lock;
use crate::channel::{Encoding, Shape, Since, client_id};
use crate::net::Peer;
use crate::sse;
use crate::websocket::Opcode;
use crate::websocket::close::CloseStatus;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A push connection, from the app's acceptance until its `on_close` has run.
pub struct Client {
    id: u64,
    negotiated: Negotiated,
    peer: Peer,
    context: Arc<Context>,
    outbox: Lock<Outbox>,
    mailbox: Lock<Mailbox>,
    /// The handler has `on_drained`. Most handlers do not. Then the mailbox's lock is not taken after each write.
    wants_drained: AtomicBool,
    /// See [`Client::has_lost_writes`].
    lost_writes: AtomicBool,
    /// The handler lets messages be compressed.
    compress: AtomicBool,
    /// See [`Client::outbox_unchanged`].
    outbox_unchanged: AtomicBool,
    /// Keeps a drain waiting until the last callback has run.
    in_flight: Lock<Option<InFlightGuard>>,
}

impl Client {
    /// A client whose handshake has not been written yet.
    pub fn new(context: Arc<Context>, negotiated: Negotiated, peer: Peer, interest: EventInterest) -> Arc<Self> {
        let interval = negotiated.heartbeat_interval(&context.base.limits);
        let guard = context.base.in_flight.guard();
        Arc::new(Client {
            id: client_id(context.pubsub.channels().process(), NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            negotiated,
            peer,
            context,
            outbox: Lock::new(Outbox::new(interval)),
            mailbox: Lock::new(Mailbox::new(interest)),
            wants_drained: AtomicBool::new(interest.drained),
            lost_writes: AtomicBool::new(false),
            compress: AtomicBool::new(true),
            outbox_unchanged: AtomicBool::new(false),
            in_flight: Lock::new(Some(guard)),
        })
    }

    /// Unique in all processes that share an engine: see [`client_id`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the client and the server have agreed to speak.
    pub(super) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.negotiated.protocol
    }

    /// The encoding in which the client gets the messages of channels.
    pub fn encoding(&self) -> Encoding {
        let mut encoding = self.negotiated.encoding;
        if encoding.deflate.is_some() && !self.compress.load(Ordering::Relaxed) {
            encoding.deflate = None;
        }
        encoding
    }

    /// What its messages look like.
    pub fn shape(&self) -> Shape {
        self.negotiated.encoding.shape
    }

    /// Sets whether messages to the client may be compressed, if that was negotiated. It concerns what is written from now on,
    /// and channel messages that the client has not got yet.
    pub fn set_compress(&self, compress: bool) {
        self.compress.store(compress, Ordering::Relaxed);
    }

    /// Keeps the client's place until its connection ends.
    pub(super) fn keep_place(&self, place: InflaterPlace) {
        self.outbox().place = Some(place);
    }

    /// Where the client resumes, by the last event's id that it has sent.
    pub(super) fn since(&self) -> Since {
        self.negotiated.since
    }

    /// Whether the process of the client's session before has died: what was written there and not yet sent is lost.
    pub(super) fn has_lost_writes(&self) -> bool {
        self.lost_writes.load(Ordering::Relaxed)
    }

    /// Sets [`Client::has_lost_writes`]. Before the client begins.
    pub(super) fn set_lost_writes(&self) {
        self.lost_writes.store(true, Ordering::Relaxed);
    }

    /// The client's address.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What all clients of the server share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Queues a WebSocket message; `text` says that `payload` is valid UTF-8. [`LastWrite::write_message`] is for the same
    /// message to many clients.
    ///
    /// False if the client is closed, closing, or too slow.
    pub fn write_message(&self, text: bool, payload: &[u8]) -> bool {
        LastWrite::new().write_message(self, text, payload)
    }

    /// Queues an SSE event. For push.v1 it becomes a WebSocket message. `data` must be valid UTF-8 and `fields`
    /// checked. In polls the event gets no id, because the last id of an answer must be the session's.
    /// [`LastWrite::write_event`] is for the same event to many clients.
    ///
    /// False if the client is closed, closing, or too slow.
    pub fn write_event(&self, fields: sse::Fields<'_>, data: &[u8]) -> bool {
        LastWrite::new().write_event(self, fields, data)
    }

    /// An SSE event as this client gets it.
    pub(super) fn event(&self, fields: sse::Fields<'_>, data: &[u8]) -> Bytes {
        sse::event(self.event_fields(fields), data)
    }

    /// The fields of an event as this client gets it.
    pub(super) fn event_fields<'a>(&self, fields: sse::Fields<'a>) -> sse::Fields<'a> {
        let id = fields.id.filter(|_| !self.negotiated.polls);
        sse::Fields { id, ..fields }
    }

    /// As [`Client::write_event`], but for any bytes, which become base64.
    pub fn write_binary_event(&self, fields: sse::Fields<'_>, data: &[u8]) -> bool {
        self.enqueue_event(sse::binary_event(fields, data))
    }

    pub(super) fn enqueue_event(&self, event: Bytes) -> bool {
        match self.shape() {
            Shape::PushV1 => self.enqueue(Frame::message(Opcode::Text, &event)),
            Shape::EventStream | Shape::Raw => self.enqueue_one(event),
        }
    }

    /// Queues a write of several frames.
    pub(super) fn enqueue(&self, frames: impl IntoIterator<Item = Frame>) -> bool {
        // Encoded before the lock is taken: the iterator copies the payload.
        let frames: Vec<Frame> = frames.into_iter().collect();
        let bytes: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        self.put(frames, bytes)
    }

    /// Queues a write of one frame, as most are.
    pub(super) fn enqueue_one(&self, bytes: Bytes) -> bool {
        let length = bytes.len();
        self.put([Frame { bytes, origin: Origin::Write }], length)
    }

    #[inline]
    fn put(&self, frames: impl IntoIterator<Item = Frame>, bytes: usize) -> bool {
        if self.forked() {
            return false;
        }
        let mut outbox = self.outbox();
        let written = outbox.write(frames, bytes, &self.context);
        match written {
            Written::Accepted => self.announce_write(outbox),
            Written::TooSlow => self.wake(outbox),
            Written::Refused => {}
        }
        self.context.pressure.relieve();
        written == Written::Accepted
    }

    /// How many writes the socket has not taken yet. `None` once the connection is closed.
    pub fn pending(&self) -> Option<usize> {
        if self.forked() {
            return None;
        }
        let outbox = self.outbox();
        (outbox.phase != ClientPhase::Closed).then_some(outbox.queued.writes)
    }

    /// Sends what is queued, then closes with `status`. Returns at once. Only the first call has an effect.
    pub fn close(&self, status: CloseStatus) {
        self.close_with(status, false);
    }

    /// The same. `goodbye` says that the client gets [`Client::take_goodbye`] last.
    pub(super) fn close_with(&self, status: CloseStatus, goodbye: bool) {
        if self.forked() {
            return;
        }
        let mut outbox = self.outbox();
        if outbox.phase == ClientPhase::Open {
            outbox.phase = ClientPhase::Closing(Box::new(status));
            outbox.owes_goodbye = goodbye;
            self.wake(outbox);
        }
    }

    /// Whether the client is still to get [`Client::take_goodbye`]; `pays` says that it gets that now.
    pub(super) fn owes_goodbye(&self, pays: bool) -> bool {
        let mut outbox = self.outbox();
        let owes = outbox.owes_goodbye;
        outbox.owes_goodbye &= !pays;
        owes
    }

    /// Whether writes are accepted: false once `close` was called or the connection has ended.
    pub fn is_open(&self) -> bool {
        !self.forked() && self.outbox().phase == ClientPhase::Open
    }

    /// How a WebSocket has ended. `None` while it is open, and for SSE.
    pub fn close_status(&self) -> Option<CloseStatus> {
        if self.forked() {
            return None;
        }
        self.outbox().close_status.as_deref().cloned()
    }

    /// The interval of pings or heartbeats. `None` if they are off.
    pub fn interval(&self) -> Option<Duration> {
        if self.forked() {
            return None;
        }
        self.outbox().interval
    }

    /// Changes the interval of pings or heartbeats.
    pub fn set_interval(&self, interval: Option<Duration>) {
        if self.forked() {
            return;
        }
        let mut outbox = self.outbox();
        outbox.interval = interval;
        self.wake(outbox);
    }

    /// Whether this process was forked from the one that the client belongs to. Then its locks may be held by threads
    /// that do not exist here.
    pub(super) fn forked(&self) -> bool {
        self.context.base.owner.forked()
    }

    /// The client's reader of channels. `None` if the client has not subscribed or is closed.
    pub(super) fn client_reader(&self) -> Option<Arc<ClientReader>> {
        if self.forked() { None } else { self.outbox().client_reader.clone() }
    }

    /// The client's reader of channels, which is made if necessary. `None` if the client is closed or closing.
    pub(super) fn make_client_reader(&self) -> Option<Arc<ClientReader>> {
        if self.forked() {
            return None;
        }
        let mut outbox = self.outbox();
        if outbox.phase != ClientPhase::Open || outbox.input_ended {
            return None;
        }
        if let Some(client_reader) = &outbox.client_reader {
            return Some(Arc::clone(client_reader));
        }
        // The outbox's lock is taken before the log's, never the other way round.
        let client_reader = ClientReader::new(self, self.negotiated.since);
        outbox.client_reader = Some(Arc::clone(&client_reader));
        // The stream must notice the reader.
        self.wake(outbox);
        Some(client_reader)
    }

    pub(super) fn is_opened(&self) -> bool {
        self.outbox().opened
    }

    pub(super) fn set_opened(&self) -> Option<Arc<ClientReader>> {
        if self.forked() {
            return None;
        }
        let mut outbox = self.outbox();
        outbox.opened = true;
        outbox.client_reader.clone()
    }

    /// The replay of the first subscriptions has begun. The first answer to a long poll waits for this, so that it has
    /// both what the first callback has written and what it has subscribed.
    pub(super) fn set_replaying(&self) {
        if self.negotiated.polls && !self.forked() {
            let mut outbox = self.outbox();
            outbox.replaying = true;
            self.wake(outbox);
        }
    }

    /// Forgets the client. The app thread that has run its last event calls this.
    pub fn retire(&self) {
        // If the last callback has forked, the child calls this as well.
        if self.forked() {
            return;
        }
        self.context.clients.remove(self.id);
        self.in_flight.lock().take();
    }

    /// Wakes the stream, so that it looks at the outbox. Any thread. Costs little if the stream was woken already.
    fn wake(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let stream = outbox.stream.take();
        self.outbox_unchanged.store(false, Ordering::Relaxed);
        drop(outbox);
        if let Some(stream) = stream {
            self.context.base.wakeups.wake(stream);
        }
    }

    /// Has a write sent: by the fan-out if the stream has an outlet, or else by the stream.
    #[inline]
    fn announce_write(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let Some(outlet) = outbox.outlet else { return self.wake(outbox) };
        // If the stream was woken, it will look here anyway.
        let listed = outbox.stream.is_none() || std::mem::replace(&mut outbox.listed, true);
        self.outbox_unchanged.store(false, Ordering::Relaxed);
        drop(outbox);
        if !listed {
            self.context.fan_out.written(outlet);
        }
    }

    /// There is room in the mailbox again.
    pub(super) fn resume(&self) {
        self.wake(self.outbox());
    }

    pub(super) fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock()
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }
}

/// For the log.
impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.negotiated.protocol {
            Protocol::WebSocket => "WebSocket",
            Protocol::Sse => "event stream",
        };
        write!(f, "client {} ({kind})", self.id)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("protocol", &self.negotiated.protocol)
            .finish_non_exhaustive()
    }
}
