//! A client's channels. Any thread.

use std::sync::Arc;
use std::time::Instant;

use super::Event;
use super::client::Client;
use super::queue::Frame;
use super::reader::{Call, Published};
use crate::channel::{Error, Message, Shape, Since, Subscription, Target};
use crate::sse;
use crate::websocket::close::{CloseStatus, code};
use crate::websocket::{Opcode, frame};

/// The event that tells a client not to reconnect.
const BYE: &str = "push.bye";

impl Client {
    /// Subscribes the client to messages that are sent to it. Subscriptions before [`Client::begin_replay`] have one
    /// replay together. `Ok(false)` if the client is closed or closing.
    pub fn subscribe(&self, subscription: Subscription<'_>) -> Result<bool, Error> {
        let Some(client_reader) = self.make_client_reader() else { return Ok(false) };
        let complete = client_reader.reader().subscribe(subscription, Instant::now())?;
        let mut state = client_reader.lock();
        state.subscribed = true;
        if !state.opened {
            state.recovered = state.recovered.into_iter().chain(complete).reduce(|all, this| all && this);
        }
        drop(state);
        // If `begin_replay` is called at the same time, either it sees this subscription, or this line sees the call.
        if self.is_opened() {
            client_reader.begin_replay();
        }
        Ok(true)
    }

    /// Subscribes Ruby code to messages. They are announced by [`Event::Published`] with the number that this returns.
    /// `None` if the client is closed or closing.
    pub fn subscribe_call(&self, target: Target<'_>, since: Option<Since>) -> Result<Option<u64>, Error> {
        let Some(client_reader) = self.make_client_reader() else { return Ok(None) };
        let mut state = client_reader.lock();
        state.last_call += 1;
        let call = Arc::new(Call::new(state.last_call, target));
        if state.calls.len() >= self.context().base.limits.max_subscriptions {
            return Err(Error::TooManySubscriptions(state.calls.len()));
        }
        state.calls.push(Arc::clone(&call));
        drop(state);
        let begun = call.begin(self, since.unwrap_or(self.since()));
        if begun.is_err() {
            client_reader.lock().calls.retain(|other| other.number != call.number);
        }
        begun.map(|_| Some(call.number))
    }

    /// Ends the subscriptions to `target`. Returns whether there was one of the client, and the numbers of those of
    /// Ruby code.
    pub fn unsubscribe(&self, target: Target<'_>) -> (bool, Vec<u64>) {
        let Some(client_reader) = self.client_reader() else { return (false, Vec::new()) };
        let found = client_reader.reader().unsubscribe(target);
        let ended: Vec<_> = client_reader.lock().calls.extract_if(.., |call| call.target() == target).collect();
        (found, ended.iter().map(|call| call.number).collect())
    }

    /// The app's first callback has returned. The missed messages of all its subscriptions are replayed together, in
    /// order.
    pub fn begin_replay(&self) {
        if let Some(client_reader) = self.set_opened() {
            client_reader.begin_replay();
        }
        self.set_replaying();
    }

    /// Whether the client gets all messages that it has missed. `None` on a first visit.
    pub fn recovered(&self) -> Option<bool> {
        self.client_reader()?.lock().recovered
    }

    /// Whether there was a subscription whose messages go to the client.
    pub fn is_subscribed(&self) -> bool {
        self.client_reader().is_some_and(|client_reader| client_reader.lock().subscribed)
    }

    /// The messages that [`Event::Published`] has announced.
    pub fn take_published(self: &Arc<Self>, subscription: u64) -> Published {
        let Some(client_reader) = self.client_reader() else { return Published::default() };
        let call = client_reader.lock().calls.iter().find(|call| call.number == subscription).cloned();
        let published = call.map(|call| call.read(self)).unwrap_or_default();
        if published.more {
            self.post(Event::Published(subscription));
        }
        published
    }

    /// Puts back messages that [`Client::take_published`] has returned. The next call returns them first.
    pub fn return_published(self: &Arc<Self>, subscription: u64, messages: Vec<Arc<Message>>) {
        let Some(client_reader) = self.client_reader().filter(|_| !messages.is_empty()) else { return };
        let call = client_reader.lock().calls.iter().find(|call| call.number == subscription).cloned();
        if let Some(call) = call {
            call.unread(messages);
            self.post(Event::Published(subscription));
        }
    }

    /// Closes the client, as [`Client::close`] does. What is sent last tells the client not to reconnect, if its protocol
    /// has an event for that: a client may leave as soon as it gets the event.
    pub fn dismiss(&self) {
        self.close_with(CloseStatus::new(code::POLICY, "disconnected"), self.shape() != Shape::Raw);
    }

    /// The event that is to be sent last, right before the end. It is there once, and only for a client that was
    /// dismissed.
    pub(super) fn take_goodbye(&self) -> Vec<Frame> {
        if !self.owes_goodbye(true) {
            return Vec::new();
        }
        let event = sse::event(sse::Fields { event: Some(BYE), ..sse::Fields::default() }, b"{}");
        match self.shape() {
            Shape::PushV1 => frame::message(Opcode::Text, &event).map(|(bytes, _)| Frame::own(bytes)).collect(),
            Shape::EventStream | Shape::Raw => vec![Frame::own(event)],
        }
    }
}
