//! A session as other threads see it: those that bring polls to it. Any thread.

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

/// A session, without its client.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` if the system gave no random numbers. Then no other poll can continue the session.
    pub(super) token: Option<Token>,
    key: Key,
    owner: OwnerProcess,
    task: RemoteWaker,
    state: Lock<State>,
}

/// What a poll must have in common with the first poll of a session, or it cannot continue the session.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// SessionTask, path and query of the request. The app may have other rules for others.
    pub(super) place: String,
    /// The user. So another user cannot use a stolen token.
    pub(super) owner: Owner,
}

#[derive(Debug, Default)]
struct State {
    /// Polls about which the app has not decided yet.
    undecided: usize,
    /// Polls that the app has accepted, on their way to the task.
    accepted: Vec<AcceptedPoll>,
    /// The number of the newest answer that the client has confirmed.
    confirmed: u64,
    /// The number of the newest answer that was sent.
    answered: u64,
    /// The session ends. No poll can continue it.
    ended: bool,
}

/// A poll that the app has accepted.
#[derive(Debug)]
pub(super) struct AcceptedPoll {
    pub(super) answer: oneshot::Sender<Bytes>,
    pub(super) wait: Duration,
    /// The ticket that the client has sent. `None` for the first poll of a session.
    pub(super) ticket: Option<Ticket>,
}

impl AcceptedPoll {
    pub(super) fn new(wait: Duration, ticket: Option<Ticket>) -> (Self, oneshot::Receiver<Bytes>) {
        let (answer, receiver) = oneshot::channel();
        (AcceptedPoll { answer, wait, ticket }, receiver)
    }
}

/// What has changed since the task has looked last.
#[derive(Debug)]
pub(super) struct SessionChanges {
    pub(super) accepted: Vec<AcceptedPoll>,
    pub(super) resuming: bool,
    pub(super) confirmed: u64,
    pub(super) ended: bool,
}

impl Session {
    /// A session that begins with a poll.
    pub(super) fn new(context: &Context, token: Option<Token>, key: Key, first: AcceptedPoll) -> Arc<Self> {
        let state = State { accepted: vec![first], ..State::default() };
        Arc::new(Session {
            token,
            key,
            owner: context.base.owner,
            task: RemoteWaker::new(Arc::clone(&context.base.wakeups)),
            state: Lock::new(state),
        })
    }

    /// Brings a poll with `ticket` for `place`. `None` if it cannot continue the session.
    pub(super) fn request_resume(self: &Arc<Self>, ticket: Ticket, place: &str) -> Option<ResumeRequest> {
        let mut state = self.lock();
        if place != self.key.place || !state.knows(ticket.number) {
            return None;
        }
        state.undecided += 1;
        drop(state);
        self.task.wake();
        Some(ResumeRequest { session: NotInChild::new(self.owner, Arc::clone(self)), ticket })
    }

    /// Takes what has changed. `task` is woken when there is more.
    pub(super) fn take_changes(&self, task: &Waker) -> SessionChanges {
        // Before the look at the state, so that later changes wake the task.
        self.task.register(task);
        let mut state = self.lock();
        SessionChanges {
            accepted: std::mem::take(&mut state.accepted),
            resuming: state.undecided > 0,
            confirmed: state.confirmed,
            ended: state.ended,
        }
    }

    /// The answer of this number was sent.
    pub(super) fn set_answered(&self, number: u64) {
        self.lock().answered = number;
    }

    /// Ends the session: the task ends, and no poll can continue the session.
    pub(super) fn dismiss(&self) {
        self.lock().ended = true;
        self.task.wake();
    }

    /// The same, for the task itself. Returns the polls that the app has accepted meanwhile.
    pub(super) fn close(&self) -> Vec<AcceptedPoll> {
        let mut state = self.lock();
        state.ended = true;
        std::mem::take(&mut state.accepted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Whether the backlog has everything that a client has missed whose newest answer is this one.
    fn knows(&self, number: u64) -> bool {
        !self.ended && (self.confirmed..=self.answered).contains(&number)
    }
}

/// A poll that asks to continue a session, until the app has decided. Meanwhile the session counts as one with a poll.
#[derive(Debug)]
pub(super) struct ResumeRequest {
    session: NotInChild<Arc<Session>>,
    ticket: Ticket,
}

impl ResumeRequest {
    /// The app has accepted the poll, as one of `owner`. `None` if the session has ended or has another owner. In the
    /// latter case the session does not change.
    pub(super) fn accept(self, wait: Duration, owner: &Owner) -> Option<oneshot::Receiver<Bytes>> {
        if *owner != self.session.key.owner || self.session.owner.forked() {
            return None;
        }
        let mut state = self.session.lock();
        if !state.knows(self.ticket.number) {
            return None;
        }
        state.confirmed = self.ticket.number;
        let (poll, answer) = AcceptedPoll::new(wait, Some(self.ticket));
        state.accepted.push(poll);
        drop(state);
        Some(answer)
    }

    /// The app has refused the poll. The session ends, unless the poll has another owner.
    pub(super) fn refuse(self, owner: &Owner) {
        let other_owner = owner.is_some() && *owner != self.session.key.owner;
        if !other_owner && !self.session.owner.forked() {
            self.session.dismiss();
        }
    }
}

impl Drop for ResumeRequest {
    fn drop(&mut self) {
        if self.session.owner.forked() {
            return;
        }
        self.session.lock().undecided -= 1;
        self.session.task.wake();
    }
}
