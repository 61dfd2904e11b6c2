//! A client's events, in order, on their way to the app.
//!
//! Events of one client run one after the other, in the order in which they happened. Those of many clients run in
//! parallel. A mailbox is bounded: while it is full, the client's socket is not read.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::Client;
use crate::websocket::Message;

/// Something that happened to a client and that its handler may want to hear about.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is written: `on_open`. Always the first.
    Open,
    /// A whole message arrived: `on_message`.
    Message(Message),
    /// The socket has taken everything that was written: `on_drained`.
    Drained,
    /// The client has missed messages of this channel: `on_gap`.
    Gap(Arc<str>),
    /// There are messages for the subscription of this number. Its callable gets them.
    Published(u64),
    /// The server is stopping: `on_shutdown`; afterwards the client is closed.
    Shutdown,
    /// The handler is replaced: the old one's `on_close`, the new one's `on_open`.
    Swap,
    /// The connection has ended: `on_close`. Always the last.
    Close,
    /// The handshake failed after the app accepted: no callback, ever.
    Abandoned,
}

/// Which callbacks a handler has. Events for which it has none are not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventInterest {
    /// `on_message`.
    pub message: bool,
    /// `on_drained`.
    pub drained: bool,
    /// `on_gap`.
    pub gap: bool,
}

impl EventInterest {
    /// The callbacks that at least one of two handlers has.
    pub fn union(self, other: EventInterest) -> EventInterest {
        EventInterest {
            message: self.message || other.message,
            drained: self.drained || other.drained,
            gap: self.gap || other.gap,
        }
    }
}

/// Where a client's last event is: `Close` or `Abandoned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastEvent {
    /// It has not happened.
    Ahead,
    /// It is queued. Only a swap may still be put in front of it.
    Queued,
    /// An app thread has taken it. Nothing can be added any more.
    Taken,
}

/// The queue itself. The client's lock protects it.
#[derive(Debug)]
pub(super) struct Mailbox {
    events: VecDeque<Event>,
    messages: usize,
    bytes: usize,
    /// An app thread runs this mailbox, or has been asked to.
    scheduled: bool,
    /// The stream stopped reading and waits to be woken.
    paused: bool,
    /// The stream waits to be woken when no event is left.
    watched: bool,
    shutdown_announced: bool,
    last: LastEvent,
    pub(super) interest: EventInterest,
}

impl Mailbox {
    pub(super) fn new(interest: EventInterest) -> Self {
        Mailbox {
            events: VecDeque::new(),
            messages: 0,
            bytes: 0,
            scheduled: false,
            paused: false,
            watched: false,
            shutdown_announced: false,
            last: LastEvent::Ahead,
            interest,
        }
    }

    /// Adds an event; returns whether an app thread must be asked to run the mailbox.
    pub(super) fn push(&mut self, event: Event) -> bool {
        if self.is_over(false) {
            return false;
        }
        match &event {
            Event::Close | Event::Abandoned => self.last = LastEvent::Queued,
            Event::Message(_) if !self.interest.message => return false,
            Event::Message(message) => {
                self.messages += 1;
                self.bytes += message.len();
            }
            Event::Gap(_) if !self.interest.gap => return false,
            // The handler has not been told of the last time yet, so one call is enough for both.
            Event::Drained if !self.interest.drained || self.events.back() == Some(&Event::Drained) => return false,
            Event::Shutdown if std::mem::replace(&mut self.shutdown_announced, true) => return false,
            _ => {}
        }
        // Most often there is one. VecDeque would have room for four, and each idle client has a mailbox.
        if self.events.capacity() == 0 {
            self.events.reserve_exact(1);
        }
        self.events.push_back(event);
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Whether nothing more can be added at the end, or (`first`) at the front.
    pub(super) fn is_over(&self, first: bool) -> bool {
        self.last == LastEvent::Taken || self.last == LastEvent::Queued && !first
    }

    /// Adds an event that runs before all others.
    pub(super) fn push_first(&mut self, event: Event) -> bool {
        if self.is_over(true) {
            return false;
        }
        self.events.push_front(event);
        !std::mem::replace(&mut self.scheduled, true)
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match &event {
            Event::Message(message) => {
                self.messages -= 1;
                self.bytes -= message.len();
            }
            Event::Close | Event::Abandoned => self.last = LastEvent::Taken,
            _ => {}
        }
        // A burst must not leave its memory behind with an idle stream. Many clients never send anything.
        if self.events.is_empty() && (self.events.capacity() > 64 || event == Event::Open) {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    fn full(&self, max_messages: usize, max_bytes: usize) -> bool {
        self.messages >= max_messages || self.bytes >= max_bytes
    }

    /// Whether no event waits and no app thread has a turn. If not, the stream will be woken when that is so.
    pub(super) fn is_idle(&mut self) -> bool {
        self.watched = self.scheduled;
        !self.scheduled
    }

    /// The turn is over, and no event is left. Returns whether the stream must be woken for that.
    fn rest(&mut self) -> bool {
        self.scheduled = false;
        std::mem::take(&mut self.watched)
    }

    /// Whether the stream must stop reading; if so it will be woken when there is room.
    pub(super) fn pause_if_full(&mut self, max_messages: usize, max_bytes: usize) -> bool {
        self.paused = self.full(max_messages, max_bytes);
        self.paused
    }
}

/// An app thread's turn at a client's events: while it lasts, no other app thread has one.
///
/// Dropping it gives the client back: if events are left, it is queued again behind the others.
#[derive(Debug)]
pub struct Turn {
    client: Arc<Client>,
    /// No event was left, so the client is given back already.
    over: Cell<bool>,
}

impl Turn {
    /// Takes the turn that [`super::Callbacks::ready`] announced.
    pub fn begin(client: Arc<Client>) -> Self {
        Turn { client, over: Cell::new(false) }
    }

    /// The client whose turn it is.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The next event to run. `None` ends the turn.
    pub fn next_event(&self) -> Option<Event> {
        // In a forked child, a callback that has forked returns. The client belongs to the parent.
        if self.over.get() || self.client.forked() {
            return None;
        }
        let limits = &self.client.context().base.limits;
        let mut mailbox = self.client.mailbox();
        let event = mailbox.pop();
        let mut resume = false;
        if event.is_none() {
            resume = mailbox.rest();
            self.over.set(true);
        }
        if mailbox.paused && !mailbox.full(limits.mailbox_messages, limits.mailbox_bytes) {
            mailbox.paused = false;
            resume = true;
        }
        drop(mailbox);
        if resume {
            self.client.resume();
        }
        event
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.over.get() || self.client.forked() {
            return;
        }
        let mut mailbox = self.client.mailbox();
        let again = !mailbox.events.is_empty();
        let resume = !again && mailbox.rest();
        drop(mailbox);
        if again {
            self.client.context().callbacks.ready(Arc::clone(&self.client));
        }
        if resume {
            self.client.resume();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn mailbox() -> Mailbox {
        Mailbox::new(EventInterest { message: true, drained: true, gap: true })
    }

    fn text(text: &'static str) -> Event {
        Event::Message(Message::Text(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn an_app_thread_is_asked_once() {
        let mut mailbox = mailbox();
        assert!(mailbox.push(Event::Open));
        assert!(!mailbox.push(text("a")));
        assert_eq!(mailbox.pop(), Some(Event::Open));
        assert_eq!(mailbox.pop(), Some(text("a")));
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn nothing_comes_after_the_last_event() {
        let mut mailbox = mailbox();
        mailbox.push(Event::Close);
        mailbox.push(Event::Swap);
        mailbox.push(Event::Drained);
        assert!(!mailbox.push_first(Event::Swap), "the app thread has been asked already");
        assert_eq!(mailbox.pop(), Some(Event::Swap), "a swap within the callback before it still counts");
        assert_eq!(mailbox.pop(), Some(Event::Close));
        mailbox.push_first(Event::Swap);
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn messages_or_bytes_make_a_mailbox_full() {
        let mut mailbox = mailbox();
        mailbox.push(Event::Open);
        mailbox.push(text("abc"));
        assert!(!mailbox.pause_if_full(2, 4));
        assert!(mailbox.pause_if_full(1, 4));
        assert!(mailbox.pause_if_full(2, 3));
    }

    #[test]
    fn an_event_without_a_callback_is_not_queued() {
        let mut mailbox = Mailbox::new(EventInterest { message: false, drained: false, gap: false });
        assert!(!mailbox.push(text("a")));
        assert!(!mailbox.push(Event::Drained));
        assert_eq!(mailbox.pop(), None);
    }

    #[test]
    fn two_drains_in_a_row_are_one_event() {
        let mut mailbox = mailbox();
        mailbox.push(Event::Drained);
        mailbox.push(Event::Drained);
        mailbox.push(text("a"));
        mailbox.push(Event::Drained);
        assert_eq!(mailbox.events, [Event::Drained, text("a"), Event::Drained]);
    }
}
