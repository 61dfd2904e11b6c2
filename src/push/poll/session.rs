//! A session as those see it who bring polls to it: workers, and connections that are asking the app.
//! Any thread.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Owner;
use super::ticket::{Ticket, Token};
use crate::base::fork::{NotInChild, OwnerProcess};
use crate::base::lock::Lock;
use crate::base::wakeups::RemoteWaker;
use crate::push::Context;

/// What is known of a session beside its client.
#[derive(Debug)]
pub(super) struct Session {
    /// `None`: no poll will ever find it.
    pub(super) token: Option<Token>,
    key: Key,
    owner: OwnerProcess,
    host: RemoteWaker,
    state: Lock<State>,
}

/// What a poll must have in common with the first one of its session to go on with it.
#[derive(Debug)]
pub(super) struct Key {
    /// Host, path and query of the request: the app may have other rules for another place.
    pub(super) place: String,
    /// The user: a stolen token is worth nothing to another user.
    pub(super) owner: Owner,
}

#[derive(Debug, Default)]
struct State {
    /// Polls that are with the app, which has not decided.
    visits: usize,
    /// Polls that were let in, on their way to the host.
    arrivals: Vec<Arrival>,
    /// Of its answers, the last one that the client has shown to have got.
    confirmed: u64,
    /// The last one that was given.
    answered: u64,
    /// Nobody may go on with it.
    dismissed: bool,
}

/// A poll that was let in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) answer: oneshot::Sender<Bytes>,
    pub(super) wait: Duration,
    /// What it came with; `None` for the first of its session.
    pub(super) ticket: Option<Ticket>,
}

impl Arrival {
    pub(super) fn new(wait: Duration, ticket: Option<Ticket>) -> (Self, oneshot::Receiver<Bytes>) {
        let (answer, receiver) = oneshot::channel();
        (Arrival { answer, wait, ticket }, receiver)
    }
}

/// What a host finds when it looks at its session.
#[derive(Debug)]
pub(super) struct News {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) visited: bool,
    pub(super) confirmed: u64,
    pub(super) dismissed: bool,
}

impl Session {
    /// A session that begins with a poll.
    pub(super) fn new(context: &Context, token: Option<Token>, key: Key, first: Arrival) -> Arc<Self> {
        let state = State { arrivals: vec![first], ..State::default() };
        Arc::new(Session {
            token,
            key,
            owner: context.base.owner,
            host: RemoteWaker::new(Arc::clone(&context.base.wakeups)),
            state: Lock::new(state),
        })
    }

    /// A poll with `ticket` that asks for `place`, if it can go on with the session.
    pub(super) fn visit(self: &Arc<Self>, ticket: Ticket, place: &str) -> Option<Visit> {
        let mut state = self.lock();
        if place != self.key.place || !state.knows(ticket.number) {
            return None;
        }
        state.visits += 1;
        drop(state);
        self.host.wake();
        Some(Visit { session: NotInChild::new(self.owner, Arc::clone(self)), ticket })
    }

    /// What has happened; `host` is woken when there is more.
    pub(super) fn news(&self, host: &Waker) -> News {
        // Before it looks: what comes from now on wakes it.
        self.host.register(host);
        let mut state = self.lock();
        News {
            arrivals: std::mem::take(&mut state.arrivals),
            visited: state.visits > 0,
            confirmed: state.confirmed,
            dismissed: state.dismissed,
        }
    }

    /// The answer of this number is given.
    pub(super) fn set_answered(&self, number: u64) {
        self.lock().answered = number;
    }

    /// Ends it: the host goes, and no poll goes on with it.
    pub(super) fn dismiss(&self) {
        self.lock().dismissed = true;
        self.host.wake();
    }

    /// The same, from the host itself: polls that were let in meanwhile are returned.
    pub(super) fn close(&self) -> Vec<Arrival> {
        let mut state = self.lock();
        state.dismissed = true;
        std::mem::take(&mut state.arrivals)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Whether a client that got this answer last has missed nothing but what is still there.
    fn knows(&self, number: u64) -> bool {
        !self.dismissed && (self.confirmed..=self.answered).contains(&number)
    }
}

/// A poll that wants to go on with a session, while the app is asked. As long as it is there, the
/// session does not count as left.
#[derive(Debug)]
pub(super) struct Visit {
    session: NotInChild<Arc<Session>>,
    ticket: Ticket,
}

impl Visit {
    /// The app has let it in, as a poll of `owner`. `None` if the session has ended, or has another owner. In the latter
    /// case the session goes on as if nothing had happened.
    pub(super) fn enter(self, wait: Duration, owner: &Owner) -> Option<oneshot::Receiver<Bytes>> {
        if *owner != self.session.key.owner || self.session.owner.forked() {
            return None;
        }
        let mut state = self.session.lock();
        if !state.knows(self.ticket.number) {
            return None;
        }
        state.confirmed = self.ticket.number;
        let (arrival, answer) = Arrival::new(wait, Some(self.ticket));
        state.arrivals.push(arrival);
        drop(state);
        Some(answer)
    }

    /// The app has not let it in: the session ends, unless the poll has another owner.
    pub(super) fn refuse(self, owner: &Owner) {
        let stranger = owner.is_some() && *owner != self.session.key.owner;
        if !stranger && !self.session.owner.forked() {
            self.session.dismiss();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.session.owner.forked() {
            return;
        }
        self.session.lock().visits -= 1;
        self.session.host.wake();
    }
}
