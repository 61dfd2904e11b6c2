//! The way back from a worker to its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::request::Reply;
use super::watch::Watch;
use crate::base::fork::NotInChild;

/// What a connection waits for. One request at a time is with the app.
#[derive(Debug, Default)]
pub(super) enum Awaited {
    /// No request is with the app, or nobody waits for its answer any more.
    #[default]
    Nothing,
    Asked,
    Waiting(Waker),
    Answered(Reply),
    /// The request was dropped unanswered.
    Lost,
}

/// A connection that waits for its app: `None` if the request was dropped unanswered.
#[derive(Debug)]
pub(super) struct Answer(Arc<Watch>);

impl Answer {
    /// The request of the connection under `watch` is about to be handed to the app.
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        watch.ask();
        Answer(watch)
    }
}

impl Future for Answer {
    type Output = Option<Reply>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let awaited = &mut self.0.lock().awaited;
        match awaited {
            Awaited::Waiting(task) if task.will_wake(cx.waker()) => Poll::Pending,
            Awaited::Waiting(_) | Awaited::Asked => {
                *awaited = Awaited::Waiting(cx.waker().clone());
                Poll::Pending
            }
            Awaited::Answered(_) | Awaited::Lost | Awaited::Nothing => match std::mem::take(awaited) {
                Awaited::Answered(reply) => Poll::Ready(Some(reply)),
                _ => Poll::Ready(None),
            },
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // A reply that arrived too late may tell a client when it is dropped: not under the lock.
        let late = std::mem::take(&mut self.0.lock().awaited);
        drop(late);
    }
}

/// The worker's end: answers once. Does nothing in a forked child, where locks may be held by threads
/// that do not exist.
pub(super) struct ReplySender {
    watch: NotInChild<Arc<Watch>>,
    answered: bool,
}

impl ReplySender {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        let watch = NotInChild::new(watch.context().base.owner, watch);
        ReplySender { watch, answered: false }
    }

    /// False if the connection is known to be gone.
    pub(super) fn send(mut self, reply: Reply) -> bool {
        self.answered = true;
        !self.context().base.owner.forked() && put(&self.watch, Awaited::Answered(reply))
    }

    /// What all connections share.
    pub(super) fn context(&self) -> &Arc<super::Context> {
        self.watch.context()
    }

    /// The connection.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }
}

/// False, and what was in `answer` is dropped, if nobody waits for it.
fn put(watch: &Watch, answer: Awaited) -> bool {
    let mut state = watch.lock();
    if matches!(state.awaited, Awaited::Nothing) {
        // Not under the lock.
        drop(state);
        return false;
    }
    let before = std::mem::replace(&mut state.awaited, answer);
    drop(state);
    if let Awaited::Waiting(task) = before {
        watch.context().base.wakeups.wake(task);
    }
    true
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        if !self.answered && !self.context().base.owner.forked() {
            put(&self.watch, Awaited::Lost);
        }
    }
}
