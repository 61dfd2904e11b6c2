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

/// Small, because each idle client has one.
pub struct ClientValues {
    /// `None` after the last callback.
    pub env: Option<RHash>,
    /// The current handler.
    pub handler: Handler,
    /// What the app has stored with `[]=`.
    pub storage: Option<RHash>,
    /// The thread that runs a callback of this client.
    pub runner: Option<Value>,
    /// Whether that callback has set a handler, which is the first of those that wait.
    pub swapped: bool,
    rare: Option<Box<Rare>>,
}

/// What few clients have.
#[derive(Default)]
struct Rare {
    /// Handlers that become the current one later, in this order.
    next: VecDeque<Handler>,
    /// The callables of subscriptions, with their numbers. Most subscriptions have none.
    callables: Vec<(u64, Value)>,
}

impl ClientValues {
    pub fn new(handler: Handler) -> Self {
        ClientValues { env: None, handler, storage: None, runner: None, swapped: false, rare: None }
    }

    /// Handlers that wait.
    fn next(&self) -> impl Iterator<Item = &Handler> {
        self.rare.iter().flat_map(|rare| &rare.next)
    }

    fn callables(&self) -> impl Iterator<Item = &(u64, Value)> {
        self.rare.iter().flat_map(|rare| &rare.callables)
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
        for handler in self.next() {
            marker.mark(handler.object);
        }
        for (_, callable) in self.callables() {
            marker.mark(*callable);
        }
    }

    /// Whether `thread` runs a callback of this client.
    pub fn is_run_by(&self, thread: Value) -> bool {
        self.runner.is_some_and(|runner| runner.as_raw() == thread.as_raw())
    }

    /// Replaces the handler that the same callback has set before. False if it has set none.
    pub fn replace_swap(&mut self, handler: Handler) -> bool {
        match self.rare.as_mut().and_then(|rare| rare.next.front_mut()) {
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
        let next = &mut self.rare.get_or_insert_default().next;
        if within {
            self.swapped = true;
            next.push_front(handler);
        } else {
            next.push_back(handler);
        }
    }

    /// Takes the handler that becomes the current one.
    pub fn take_next(&mut self) -> Option<Handler> {
        self.swapped = false;
        self.rare.as_mut()?.next.pop_front()
    }

    /// Which events the current handler and those that wait have callbacks for.
    pub fn wanted(&self) -> EventInterest {
        self.next().map(Handler::interest).fold(self.handler.interest(), EventInterest::union)
    }

    /// Whether the current handler and those that wait let messages be compressed.
    pub fn all_compress(&self) -> bool {
        self.handler.compress && self.next().all(|handler| handler.compress)
    }

    /// The callable of a subscription.
    pub fn callable(&self, number: u64) -> Option<Value> {
        self.callables().find(|(other, _)| *other == number).map(|(_, callable)| *callable)
    }

    /// Keeps the callable of a subscription.
    pub fn keep_callable(&mut self, number: u64, callable: Value) {
        self.rare.get_or_insert_default().callables.push((number, callable));
    }

    /// The subscription has ended.
    pub fn drop_callable(&mut self, number: u64) {
        if let Some(rare) = &mut self.rare {
            rare.callables.retain(|(other, _)| *other != number);
        }
    }

    /// The last callback has returned.
    pub fn release(&mut self) {
        self.env = None;
        if let Some(rare) = &mut self.rare {
            rare.callables = Vec::new();
        }
    }
}
