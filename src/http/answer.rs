//! The way back from a worker to its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::request::Reply;
use super::socket::Watch;
use crate::fork::Birth;
use crate::push;

/// Where a connection waits for its app. One request at a time is with the app, so that there is one
/// for all requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// No request is with the app, or nobody waits for its answer any more.
    #[default]
    Closed,
    Asked,
    Waiting(Waker),
    Answered(Reply),
    /// The request was dropped unanswered.
    Lost,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) -> State {
        std::mem::replace(&mut self.lock(), state)
    }

    /// False, and what was in `answer` is dropped, if nobody waits for it.
    fn put(&self, answer: State, context: &push::Context) -> bool {
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return false;
        }
        let before = std::mem::replace(&mut *state, answer);
        drop(state);
        if let State::Waiting(task) = before {
            context.wakeups.add(task);
        }
        true
    }
}

/// A connection that waits for its app: `None` if the request was dropped unanswered.
#[derive(Debug)]
pub(super) struct Answer(Arc<Watch>);

impl Answer {
    /// The request of the connection under `watch` is about to be handed to the app.
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        watch.slot.set(State::Asked);
        Answer(watch)
    }
}

impl Future for Answer {
    type Output = Option<Reply>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let mut state = self.0.slot.lock();
        match &*state {
            State::Answered(_) | State::Lost | State::Closed => match std::mem::take(&mut *state) {
                State::Answered(reply) => Poll::Ready(Some(reply)),
                _ => Poll::Ready(None),
            },
            State::Waiting(task) if task.will_wake(cx.waker()) => Poll::Pending,
            State::Waiting(_) | State::Asked => {
                *state = State::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // A reply that arrived too late may tell a client when it is dropped: not under the lock.
        let late = self.0.slot.set(State::Closed);
        drop(late);
    }
}

/// The worker's end: answers once. Does nothing in a forked child, where locks may be held by threads
/// that do not exist.
pub(super) struct ReplySender {
    watch: Option<Arc<Watch>>,
    context: Arc<push::Context>,
}

impl ReplySender {
    pub(super) fn new(watch: Arc<Watch>, context: Arc<push::Context>) -> Self {
        ReplySender { watch: Some(watch), context }
    }

    /// False if the connection is known to be gone.
    pub(super) fn send(mut self, reply: Reply) -> bool {
        if self.birth().forked() {
            return false;
        }
        self.watch.take().is_some_and(|watch| watch.slot.put(State::Answered(reply), &self.context))
    }

    /// What the server's clients share.
    pub(super) fn context(&self) -> &Arc<push::Context> {
        &self.context
    }

    /// What the connection's parts know of each other; gone once it is answered.
    pub(super) fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    fn birth(&self) -> Birth {
        self.context.birth
    }
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        let Some(watch) = self.watch.take() else { return };
        if self.birth().forked() {
            // Of what it may hold last, nothing may be dropped here.
            std::mem::forget(watch);
        } else {
            watch.slot.put(State::Lost, &self.context);
        }
    }
}
