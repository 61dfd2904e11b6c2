//! One push connection as the app sees it.
//!
//! Everything here may be called from any thread and never waits for the socket: writes are put
//! on a list that the client's [`super::stream`] takes from.

mod carrier;
#[cfg(test)]
mod forked;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::mailbox::{Event, EventInterest, Mailbox};
use super::outbox::{ClientPhase, Outbox, Written};
use super::queue::{Frame, Origin};
use super::reader::ClientReader;
use super::{Context, Negotiated, Protocol};
use crate::base::in_flight::InFlightGuard;
use crate::base::lock::Lock;
use crate::channel::{Encoding, Shape, Since};
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
    /// The handler has `on_drained`. Most handlers have none; this saves taking the mailbox's lock after each write.
    wants_drained: AtomicBool,
    /// Keeps a drain waiting until the last callback has run.
    in_flight: Lock<Option<InFlightGuard>>,
}

impl Client {
    /// A client whose handshake has not been written yet.
    pub fn new(context: Arc<Context>, negotiated: Negotiated, peer: Peer, interest: EventInterest) -> Arc<Self> {
        let interval = match negotiated.protocol {
            Protocol::WebSocket => context.base.limits.ping_interval,
            Protocol::Sse => context.base.limits.sse_heartbeat,
        };
        let guard = context.base.in_flight.guard();
        Arc::new(Client {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            negotiated,
            peer,
            context,
            outbox: Lock::new(Outbox::new(interval)),
            mailbox: Lock::new(Mailbox::new(interest)),
            wants_drained: AtomicBool::new(interest.drained),
            in_flight: Lock::new(Some(guard)),
        })
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.negotiated.protocol
    }

    /// The encoding in which it gets the messages of channels.
    pub fn encoding(&self) -> Encoding {
        self.negotiated.encoding
    }

    /// Up to where it has got messages before, as it says itself.
    pub(super) fn since(&self) -> Since {
        self.negotiated.since
    }

    /// Where it comes from.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What it shares with the server's other clients.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Queues a WebSocket message; `text` says that `payload` is valid UTF-8.
    ///
    /// False if the client is closed, closing, or too slow.
    pub fn write_message(&self, text: bool, payload: &[u8]) -> bool {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        self.enqueue(Frame::message(opcode, payload))
    }

    /// Queues an SSE event, in push.v1 as a message; `data` must be valid UTF-8 and `fields` checked.
    /// In a poll the id is left out: there, the last one is the session's.
    ///
    /// False if the client is closed, closing, or too slow.
    pub fn write_event(&self, fields: sse::Fields<'_>, data: &[u8]) -> bool {
        let id = fields.id.filter(|_| !self.negotiated.polls);
        self.enqueue_event(sse::event(sse::Fields { id, ..fields }, data))
    }

    /// As [`Client::write_event`], of any bytes: they become base64.
    pub fn write_binary_event(&self, fields: sse::Fields<'_>, data: &[u8]) -> bool {
        self.enqueue_event(sse::binary_event(fields, data))
    }

    fn enqueue_event(&self, event: Bytes) -> bool {
        match self.encoding().shape {
            Shape::PushV1 => self.enqueue(Frame::message(Opcode::Text, &event)),
            Shape::EventStream | Shape::Raw => self.enqueue([Frame { bytes: event, origin: Origin::Write }]),
        }
    }

    fn enqueue(&self, frames: impl IntoIterator<Item = Frame>) -> bool {
        if self.forked() {
            return false;
        }
        // Encoded before the lock is taken: the iterator copies the payload. Most writes are one frame.
        let mut frames = frames.into_iter();
        let first = frames.next();
        let more: Vec<Frame> = frames.collect();
        let bytes: usize = first.iter().chain(&more).map(|frame| frame.bytes.len()).sum();
        let mut outbox = self.outbox();
        let written = outbox.write(first, more, bytes, &self.context);
        if written != Written::Refused {
            self.wake(outbox);
        }
        self.context.pressure.relieve();
        written == Written::Accepted
    }

    /// Writes not yet handed to the socket; `None` once the connection is closed.
    pub fn pending(&self) -> Option<usize> {
        if self.forked() {
            return None;
        }
        let outbox = self.outbox();
        (outbox.phase != ClientPhase::Closed).then_some(outbox.queued.writes)
    }

    /// Flushes what is queued, then closes with `status`. Returns at once; only the first call
    /// counts.
    pub fn close(&self, status: CloseStatus) {
        if self.forked() {
            return;
        }
        let mut outbox = self.outbox();
        if outbox.phase == ClientPhase::Open {
            outbox.phase = ClientPhase::Closing(status);
            self.wake(outbox);
        }
    }

    /// Whether writes are accepted: false as soon as `close` was called or the peer went.
    pub fn is_open(&self) -> bool {
        !self.forked() && self.outbox().phase == ClientPhase::Open
    }

    /// How a WebSocket connection ended; `None` while it has not, and for SSE.
    pub fn close_status(&self) -> Option<CloseStatus> {
        if self.forked() {
            return None;
        }
        self.outbox().close_status.clone()
    }

    /// The interval of pings or heartbeats; `None` is off.
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

    /// Asks for a change of handlers: after the events that already wait, or (`at_once`, for a
    /// call from within a callback of this client) before them.
    ///
    /// Messages that arrive from now on are kept if either handler wants them. False if the
    /// client's last event is behind, or the events before a change would be.
    pub fn swap_handler(self: &Arc<Self>, at_once: bool, interest: EventInterest) -> bool {
        if self.forked() {
            return false;
        }
        let mut mailbox = self.mailbox();
        if mailbox.is_over(at_once) {
            return false;
        }
        self.want(&mut mailbox, interest, EventInterest::union);
        let ask = if at_once { mailbox.push_first(Event::Swap) } else { mailbox.push(Event::Swap) };
        self.ask_if(ask, mailbox);
        true
    }

    /// Adds the callbacks of a handler that waits for its swap.
    pub fn widen_interest(&self, interest: EventInterest) {
        if !self.forked() {
            self.want(&mut self.mailbox(), interest, EventInterest::union);
        }
    }

    /// Whether this process was forked off the one the client belongs to: then its locks may be
    /// held by threads that do not exist here.
    pub(super) fn forked(&self) -> bool {
        self.context.base.owner.forked()
    }

    /// Sets the callbacks of the current handler.
    pub fn set_interest(&self, interest: EventInterest) {
        if !self.forked() {
            self.want(&mut self.mailbox(), interest, |_, new| new);
        }
    }

    fn want(
        &self,
        mailbox: &mut Mailbox,
        interest: EventInterest,
        combine: impl FnOnce(EventInterest, EventInterest) -> EventInterest,
    ) {
        mailbox.interest = combine(mailbox.interest, interest);
        self.wants_drained.store(mailbox.interest.drained, Ordering::Relaxed);
    }

    /// Adds an event to the mailbox, unless the handler has no callback for it.
    pub(super) fn post(self: &Arc<Self>, event: Event) {
        let mut mailbox = self.mailbox();
        let ask = mailbox.push(event);
        self.ask_if(ask, mailbox);
    }

    /// Asks a worker to run the mailbox, if there must be one.
    fn ask_if(self: &Arc<Self>, ask: bool, mailbox: MutexGuard<'_, Mailbox>) {
        drop(mailbox);
        if ask {
            self.context.callbacks.ready(Arc::clone(self));
        }
    }

    /// Its reader of channels, if it has subscribed and is not closed.
    pub(super) fn client_reader(&self) -> Option<Arc<ClientReader>> {
        if self.forked() { None } else { self.outbox().client_reader.clone() }
    }

    /// The same, made if need be; `None` if it is closed or closing.
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
        // The log's lock is taken while the outbox's is held, and never the other way round.
        let client_reader = ClientReader::new(self, self.negotiated.since);
        outbox.client_reader = Some(Arc::clone(&client_reader));
        // The stream must learn of the reader.
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

    /// The replay of the channels that the first callback subscribed has begun. The first answer to a long poll waits for
    /// this, so that it has what the callback wrote as well as what it subscribed.
    pub(super) fn set_replaying(&self) {
        if self.negotiated.polls && !self.forked() {
            let mut outbox = self.outbox();
            outbox.replaying = true;
            self.wake(outbox);
        }
    }

    /// Forgets the client; called by the worker that ran its last event.
    pub fn retire(&self) {
        // If the last callback has forked, the child calls this as well.
        if self.forked() {
            return;
        }
        self.context.clients.remove(self.id);
        self.in_flight.lock().take();
    }

    /// Makes the stream look at its client soon. Any thread. Costs little if the stream is woken already.
    fn wake(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let stream = outbox.stream.take();
        drop(outbox);
        if let Some(stream) = stream {
            self.context.base.wakeups.wake(stream);
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
