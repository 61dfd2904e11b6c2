//! What concerns a client's handler: its callbacks, and the events that wait for them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use super::Client;
use crate::push::mailbox::{Event, EventInterest, Mailbox};

impl Client {
    /// Asks for a change of handlers after the events that already wait. With `at_once` the change comes before them:
    /// for a call inside a callback of this client.
    ///
    /// Messages that arrive from now on are kept if either handler wants them. Returns false if the change would come
    /// after the client's last event.
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

    /// Adds the callbacks of the next handler, which is not yet in use.
    pub fn widen_interest(&self, interest: EventInterest) {
        if !self.forked() {
            self.want(&mut self.mailbox(), interest, EventInterest::union);
        }
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
    pub(in crate::push) fn post(self: &Arc<Self>, event: Event) {
        let mut mailbox = self.mailbox();
        let ask = mailbox.push(event);
        self.ask_if(ask, mailbox);
    }

    /// Asks for an app thread that runs the mailbox, if `ask` is true.
    pub(super) fn ask_if(self: &Arc<Self>, ask: bool, mailbox: MutexGuard<'_, Mailbox>) {
        drop(mailbox);
        if ask {
            self.context.callbacks.ready(Arc::clone(self));
        }
    }
}
