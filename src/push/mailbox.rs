//! A client's events, in order, on their way to the app.
//!
//! The mailbox gives the contract its order: events of one client run one after the other, in
//! the order they happened, while those of many clients run in parallel. It is bounded: a full
//! one stops the reading of that client's socket, so that it never grows.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Client;

/// Something that happened to a client and that its handler may want to hear about.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is written: `on_open`. Always the first.
    Open,
    /// A whole message arrived: `on_message`.
    Message(Message),
    /// All that was written has been handed to the socket: `on_drained`.
    Drained,
    /// The server is stopping: `on_shutdown`; afterwards the client is closed.
    Shutdown,
    /// The handler is replaced: the old one's `on_close`, the new one's `on_open`.
    Swap,
    /// The connection has ended: `on_close`. Always the last.
    Close,
    /// The handshake failed after the app accepted: no callback, ever.
    Abandoned,
}

/// A WebSocket message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Valid UTF-8.
    Text(Bytes),
    /// Anything.
    Binary(Bytes),
}

impl Message {
    fn len(&self) -> usize {
        match self {
            Message::Text(bytes) | Message::Binary(bytes) => bytes.len(),
        }
    }
}

/// Which callbacks a handler has, so that Ruby is not called for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// `on_message`.
    pub message: bool,
    /// `on_drained`.
    pub drained: bool,
}

impl Interest {
    /// What either wants.
    pub fn union(self, other: Interest) -> Interest {
        Interest { message: self.message || other.message, drained: self.drained || other.drained }
    }
}

/// The queue itself; lives under the client's lock.
#[derive(Debug)]
pub(super) struct Mailbox {
    events: VecDeque<Event>,
    messages: usize,
    bytes: usize,
    /// A worker runs this mailbox, or has been asked to.
    scheduled: bool,
    /// The stream stopped reading and waits to be woken.
    paused: bool,
    shutdown_announced: bool,
    pub(super) interest: Interest,
}

impl Mailbox {
    pub(super) fn new(interest: Interest) -> Self {
        Mailbox {
            events: VecDeque::new(),
            messages: 0,
            bytes: 0,
            scheduled: false,
            paused: false,
            shutdown_announced: false,
            interest,
        }
    }

    /// Adds an event; returns whether a worker must be asked to run the mailbox.
    pub(super) fn push(&mut self, event: Event) -> bool {
        match &event {
            Event::Message(_) if !self.interest.message => return false,
            Event::Message(message) => {
                self.messages += 1;
                self.bytes += message.len();
            }
            // The handler has not even heard of the last time: that one will do.
            Event::Drained if !self.interest.drained || self.events.back() == Some(&Event::Drained) => return false,
            Event::Shutdown if std::mem::replace(&mut self.shutdown_announced, true) => return false,
            _ => {}
        }
        self.events.push_back(event);
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Adds an event that runs before all others.
    pub(super) fn push_first(&mut self, event: Event) -> bool {
        self.events.push_front(event);
        !std::mem::replace(&mut self.scheduled, true)
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.messages -= 1;
            self.bytes -= message.len();
        }
        Some(event)
    }

    fn full(&self, max_messages: usize, max_bytes: usize) -> bool {
        self.messages >= max_messages || self.bytes >= max_bytes
    }

    /// Whether the stream must stop reading; if so it will be woken when there is room.
    pub(super) fn pause_if_full(&mut self, max_messages: usize, max_bytes: usize) -> bool {
        self.paused = self.full(max_messages, max_bytes);
        self.paused
    }
}

/// A worker's turn at a client's events: while it lasts, no other worker has one.
///
/// Dropping it gives the client back: if events are left, it is queued again behind the others.
#[derive(Debug)]
pub struct Turn {
    client: Arc<Client>,
}

impl Turn {
    /// Takes the turn that [`super::Callbacks::ready`] announced.
    pub fn begin(client: Arc<Client>) -> Self {
        Turn { client }
    }

    /// The client whose turn it is.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The next event to run, if any.
    pub fn next_event(&self) -> Option<Event> {
        let limits = &self.client.context().limits;
        let mut mailbox = self.client.mailbox();
        let event = mailbox.pop();
        let resume = mailbox.paused && !mailbox.full(limits.mailbox_messages, limits.mailbox_bytes);
        if resume {
            mailbox.paused = false;
        }
        drop(mailbox);
        if resume {
            self.client.wake();
        }
        event
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut mailbox = self.client.mailbox();
        mailbox.scheduled = !mailbox.events.is_empty();
        let again = mailbox.scheduled;
        drop(mailbox);
        if again {
            self.client.context().callbacks.ready(Arc::clone(&self.client));
        }
    }
}
