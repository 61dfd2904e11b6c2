//! What a `PushServer::Client` holds of Ruby's: the garbage collector marks it. All is called with the GVL, and calls no
//! Ruby code.

use std::collections::VecDeque;

use magnus::gc::Marker;
use magnus::rb_sys::AsRawValue;
use magnus::{RHash, Value};
use push_core::push::Interest;

use crate::support::handler::Handler;

pub struct ClientValues {
    /// Nothing after the last callback.
    pub env: Option<RHash>,
    /// The handler in charge.
    pub handler: Handler,
    /// Handlers that wait for their swap.
    pub next: VecDeque<Handler>,
    /// What the app has stored with the connection.
    pub storage: Option<RHash>,
    /// The thread that runs a callback of this client.
    pub runner: Option<Value>,
    /// That callback has swapped the handler: the new one is the first of `next`.
    pub swapped: bool,
    /// What subscriptions call, by their number. Few subscriptions call anything.
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

    /// Puts `handler` in the place of one that the same callback has set before. False if it has set none.
    pub fn replace_swap(&mut self, handler: Handler) -> bool {
        match self.next.front_mut() {
            Some(first) if self.swapped => {
                *first = handler;
                true
            }
            _ => false,
        }
    }

    /// Adds a handler that waits: set by a callback of this client it is the next one (`within`), otherwise the last.
    pub fn add_swap(&mut self, handler: Handler, within: bool) {
        if within {
            self.swapped = true;
            self.next.push_front(handler);
        } else {
            self.next.push_back(handler);
        }
    }

    /// The handler that is to be in charge next.
    pub fn take_next(&mut self) -> Option<Handler> {
        self.swapped = false;
        self.next.pop_front()
    }

    /// What the handler in charge and those that wait want to hear about.
    pub fn wanted(&self) -> Interest {
        let waiting = self.next.iter().map(Handler::interest);
        waiting.fold(self.handler.interest(), Interest::union)
    }

    /// What a subscription calls.
    pub fn callable(&self, number: u64) -> Option<Value> {
        self.callables.iter().find(|(other, _)| *other == number).map(|(_, callable)| *callable)
    }
}
