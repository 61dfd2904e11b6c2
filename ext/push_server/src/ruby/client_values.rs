//! The Ruby objects that a `PushServer::Client` refers to. All functions are called inside of a [`GvlCell`], and call
//! no Ruby code.
//!
//! [`GvlCell`]: crate::support::cell::GvlCell

use std::collections::VecDeque;

use magnus::gc::Marker;
use magnus::rb_sys::AsRawValue;
use magnus::{RHash, Value};
use push_core::push::EventInterest;

use crate::support::handler::Handler;

pub struct ClientValues {
    /// `None` after the last callback.
    pub env: Option<RHash>,
    /// The current handler.
    pub handler: Handler,
    /// Handlers that become the current one later, in this order.
    pub next: VecDeque<Handler>,
    /// What the app has stored with `[]=`.
    pub storage: Option<RHash>,
    /// The thread that runs a callback of this client.
    pub runner: Option<Value>,
    /// Whether that callback has set a handler, which is the first of `next`.
    pub swapped: bool,
    /// The callables of subscriptions, with their numbers. Most subscriptions have none.
    pub callables: Vec<(u64, Value)>,
}

impl ClientValues {
    pub fn new(handler: Handler) -> Self {
        ClientValues {
            env: None,
            handler,
            next: VecDeque::new(),
            storage: None,
            runner: None,
            swapped: false,
            callables: Vec::new(),
        }
    }

    /// Called by the garbage collector.
    pub fn mark(&self, marker: &Marker) {
        if let Some(env) = self.env {
            marker.mark(env);
        }
        if let Some(storage) = self.storage {
            marker.mark(storage);
        }
        if let Some(runner) = self.runner {
            marker.mark(runner);
        }
        marker.mark(self.handler.object);
        for handler in &self.next {
            marker.mark(handler.object);
        }
        for (_, callable) in &self.callables {
            marker.mark(*callable);
        }
    }

    /// Whether `thread` runs a callback of this client.
    pub fn is_run_by(&self, thread: Value) -> bool {
        self.runner.is_some_and(|runner| runner.as_raw() == thread.as_raw())
    }

    /// Replaces the handler that the same callback has set before. False if it has set none.
    pub fn replace_swap(&mut self, handler: Handler) -> bool {
        match self.next.front_mut() {
            Some(first) if self.swapped => {
                *first = handler;
                true
            }
            _ => false,
        }
    }

    /// Adds a handler to those that wait: before the others if a callback of this client has set it (`within`),
    /// otherwise behind them.
    pub fn add_swap(&mut self, handler: Handler, within: bool) {
        if within {
            self.swapped = true;
            self.next.push_front(handler);
        } else {
            self.next.push_back(handler);
        }
    }

    /// Takes the handler that becomes the current one.
    pub fn take_next(&mut self) -> Option<Handler> {
        self.swapped = false;
        self.next.pop_front()
    }

    /// Which events the current handler and those that wait have callbacks for.
    pub fn wanted(&self) -> EventInterest {
        let waiting = self.next.iter().map(Handler::interest);
        waiting.fold(self.handler.interest(), EventInterest::union)
    }

    /// Whether the current handler and those that wait let messages be compressed.
    pub fn all_compress(&self) -> bool {
        self.handler.compress && self.next.iter().all(|handler| handler.compress)
    }

    /// The callable of a subscription.
    pub fn callable(&self, number: u64) -> Option<Value> {
        self.callables.iter().find(|(other, _)| *other == number).map(|(_, callable)| *callable)
    }
}
