//! Methods that only the carrier of a client calls: its stream, or the task of its polls' session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use super::Client;
use crate::base::stats::Counter;
use crate::push::fan_out::Outlet;
use crate::push::mailbox::Event;
use crate::push::outbox::{ClientPhase, Outbox, StreamBounds, StreamOrder};
use crate::push::pressure::Stalled;
use crate::push::queue::{Frame, Queue, Sent};
use crate::push::reader::ClientReader;
use crate::push::{Protocol, pressure};
use crate::websocket::Message;
use crate::websocket::close::CloseStatus;

impl Client {
    /// The handshake is written: `on_open` follows.
    pub(in crate::push) fn start(self: &Arc<Self>) {
        match self.negotiated.protocol {
            Protocol::WebSocket => {
                self.context.base.stats.websockets.add();
                if self.negotiated.deflate.is_some() {
                    self.context.base.stats.compressed_websockets.add();
                }
            }
            Protocol::Sse if self.negotiated.polls => self.context.base.stats.poll_sessions.add(),
            Protocol::Sse => self.context.base.stats.event_streams.add(),
        }
        self.open_streams().add();
        self.post(Event::Open);
        self.context.clients.insert(self);
        // After the insertion: a shutdown that begins before this line is seen here, and a later one finds the client.
        if !self.context.base.lifecycle.serving() {
            self.post(Event::Shutdown);
        }
    }

    fn open_streams(&self) -> &Counter {
        let stats = &self.context.base.stats;
        match self.negotiated.protocol {
            _ if self.negotiated.polls => &stats.open_poll_sessions,
            Protocol::WebSocket => &stats.open_websockets,
            Protocol::Sse => &stats.open_event_streams,
        }
    }

    /// The handshake has failed. No callback is ever called.
    pub(crate) fn abandon(self: &Arc<Self>) {
        if self.forked() {
            return;
        }
        let mut outbox = self.outbox();
        let client_reader = outbox.shut();
        self.release_all(outbox);
        drop(client_reader);
        self.post(Event::Abandoned);
    }

    /// Moves what was written since the last call to `queue`. `stream` is woken when there is more.
    pub(in crate::push) fn collect(
        &self,
        queue: &mut Queue,
        client_reader: &mut Option<Arc<ClientReader>>,
        stream: &Waker,
    ) -> (StreamOrder, StreamBounds) {
        let mut outbox = self.outbox();
        if client_reader.is_none() {
            client_reader.clone_from(&outbox.client_reader);
        }
        outbox.stream.get_or_insert_with(|| stream.clone());
        outbox.listed = false;
        self.outbox_unchanged.store(true, Ordering::Relaxed);
        outbox.empty_into(queue);
        (outbox.order(), outbox.bounds(&self.context))
    }

    /// The number under which writes are announced to the fan-out.
    pub(in crate::push) fn set_outlet(&self, outlet: Outlet) {
        self.outbox().outlet = Some(outlet);
    }

    /// Moves to `frames` what was written since the last call, if the client is on the fan-out's list, is open, and at most `room`
    /// bytes wait for it. Otherwise returns the stream's task, if that must be woken. `room` is `None` if the stream is not parked.
    pub(in crate::push) fn take_written(&self, room: Option<usize>, frames: &mut Vec<Frame>) -> Option<Waker> {
        let mut outbox = self.outbox();
        // If it is not on the list, the stream has taken everything meanwhile. If there is no task, the stream was woken, and will.
        if !std::mem::take(&mut outbox.listed) || outbox.stream.is_none() {
            return None;
        }
        let fits = room.is_some_and(|room| outbox.queued.bytes <= room);
        if !fits || outbox.phase != ClientPhase::Open {
            return outbox.stream.take();
        }
        outbox.empty(|frame| frames.push(frame));
        self.outbox_unchanged.store(true, Ordering::Relaxed);
        None
    }

    /// Whether the app has written and asked for nothing since its carrier, or the fan-out, looked into the outbox.
    ///
    /// What a thread publishes after a write must not overtake the write. It does not: the reactor gets the message through a
    /// lock, so it also sees what the thread stored here before.
    pub(in crate::push) fn outbox_unchanged(&self) -> bool {
        self.outbox_unchanged.load(Ordering::Relaxed)
    }

    /// The socket has taken something.
    pub(in crate::push) fn sent(self: &Arc<Self>, sent: &Sent) -> StreamBounds {
        self.count_sent(sent, pressure::cost(sent.writes, sent.bytes))
    }

    /// Something was put into the answer to a poll. It is kept until the client has confirmed the answer.
    pub(in crate::push) fn answered(self: &Arc<Self>, sent: &Sent) {
        self.count_sent(sent, 0);
    }

    /// The client has confirmed answers. `bytes` bytes are no longer kept for it.
    pub(in crate::push) fn confirmed(&self, bytes: usize) {
        self.release(&mut self.outbox(), bytes);
    }

    fn count_sent(self: &Arc<Self>, sent: &Sent, released: usize) -> StreamBounds {
        let mut outbox = self.outbox();
        let (drained, stalled) = outbox.sent(sent);
        self.release(&mut outbox, released);
        let bounds = outbox.bounds(&self.context);
        drop(outbox);
        if stalled {
            self.context.pressure.moves(self);
        }
        if drained && self.wants_drained.load(Ordering::Relaxed) {
            self.post(Event::Drained);
        }
        bounds
    }

    /// Sets since when the client has taken nothing. `None` if it may take something again.
    pub(in crate::push) fn set_stalled(self: &Arc<Self>, since: Option<Instant>) -> StreamBounds {
        let mut outbox = self.outbox();
        let changed = outbox.phase != ClientPhase::Closed && outbox.set_stalled(since);
        let bounds = outbox.bounds(&self.context);
        drop(outbox);
        match since {
            Some(_) if changed => self.context.pressure.stalls(self),
            None if changed => self.context.pressure.moves(self),
            _ => {}
        }
        bounds
    }

    /// The client as a stalled one. `None` if it is not stalled, or nothing waits for it.
    pub(in crate::push) fn into_stalled(self: Arc<Self>) -> Option<Stalled> {
        let outbox = self.outbox();
        let (since, bytes) = (outbox.stalled_since(), outbox.kept);
        drop(outbox);
        Some(Stalled { since: since.filter(|_| bytes > 0)?, bytes, client: self })
    }

    /// Closes the client, because too much waits for all clients together. What waits for it no longer counts.
    pub(in crate::push) fn crowd_out(&self) {
        let mut outbox = self.outbox();
        if outbox.phase != ClientPhase::Closed {
            outbox.phase = ClientPhase::Slow;
            let kept = outbox.kept;
            self.release(&mut outbox, kept);
            self.wake(outbox);
        }
    }

    fn release(&self, outbox: &mut MutexGuard<'_, Outbox>, bytes: usize) {
        // Frames of the server itself are not counted.
        let bytes = bytes.min(outbox.kept);
        outbox.kept -= bytes;
        self.context.pressure.remove(bytes);
    }

    /// The client is closed.
    fn release_all(&self, mut outbox: MutexGuard<'_, Outbox>) {
        let kept = outbox.kept;
        self.release(&mut outbox, kept);
        drop(outbox);
        self.context.pressure.moves(self);
    }

    /// Adds a message to the mailbox. Returns whether the mailbox is full now, so that nothing more may be read.
    pub(in crate::push) fn post_message(self: &Arc<Self>, message: Message) -> bool {
        let limits = &self.context.base.limits;
        let mut mailbox = self.mailbox();
        let ask = mailbox.push(Event::Message(message));
        let full = mailbox.pause_if_full(limits.mailbox_messages, limits.mailbox_bytes);
        self.ask_if(ask, mailbox);
        full
    }

    /// Whether the mailbox is still full.
    pub(in crate::push) fn is_full(&self) -> bool {
        let limits = &self.context.base.limits;
        self.mailbox().pause_if_full(limits.mailbox_messages, limits.mailbox_bytes)
    }

    /// The client can send nothing more.
    pub(in crate::push) fn end_input(&self) {
        self.outbox().input_ended = true;
    }

    /// Whether no event waits and no callback runs. Otherwise the stream will be woken when the last callback has
    /// returned.
    pub(in crate::push) fn is_idle(&self) -> bool {
        self.mailbox().is_idle()
    }

    /// The connection has ended: posts `on_close`. Only the first call has an effect.
    pub(in crate::push) fn finish(self: &Arc<Self>, status: Option<CloseStatus>) {
        let mut outbox = self.outbox();
        if outbox.phase == ClientPhase::Closed {
            return;
        }
        outbox.close_status = status.filter(|_| self.negotiated.protocol == Protocol::WebSocket).map(Box::new);
        let client_reader = outbox.shut();
        self.release_all(outbox);
        self.open_streams().sub();
        // Its subscriptions end here, unless another thread is using the reader now.
        drop(client_reader);
        self.post(Event::Close);
    }
}
