//! A request's way back: from the thread that runs the app to the connection that the request came by.
//!
//! ```text
//! app thread: Responder ─ ReplySender ─▶ ReplySlot ─▶ ReplyReceiver ─ the connection's task
//! ```
//!
//! A slot belongs to one request. A connection uses the slot again for the next request only if no sender is left. So a
//! sender that is kept beyond its request cannot answer the next request, inform its client or take its socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::StatusCode;

use super::head::ResponseHead;
use super::hijack::{Hijack, Hijacked};
use super::long_poll::PendingPoll;
use super::response::Response;
use crate::base::fork::NotInChild;
use crate::base::lock::Lock;
use crate::push;
use crate::push::accept::PendingClient;
use crate::push::unnumbered::Unnumbered;

/// What the app has decided.
#[derive(Debug)]
pub(super) enum Reply {
    /// An ordinary response.
    Response(Response),
    /// The response to a long poll, which may have to wait.
    Poll(Box<PendingPoll>),
    /// HTTP is over on this connection.
    Takeover(Takeover),
}

/// What becomes of a connection when HTTP is over.
#[derive(Debug)]
pub(super) enum Takeover {
    /// It becomes a push client's stream.
    Stream(Box<PendingStream>),
    /// The app gets its socket.
    Hijack(Box<Hijack>),
}

impl Takeover {
    /// The status of the response. `None` if the app writes its own head.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Takeover::Stream(pending) => Some(pending.head.status),
            Takeover::Hijack(hijack) => hijack.head.as_ref().map(|head| head.status),
        }
    }
}

/// An accepted upgrade: the client, and the head to send before its stream begins.
#[derive(Debug)]
pub(super) struct PendingStream {
    pub(super) client: PendingClient,
    pub(super) head: ResponseHead,
}

/// The connection of a request, without what only one version of HTTP has. Any thread, unless a method says otherwise.
pub(super) trait RequestConnection: Send + Sync {
    /// Sends an informational response before the final one. If that is not possible at once, it is not sent. Called with
    /// the slot's lock held, so no lock of the connection may be held when the slot's is taken.
    fn inform(&self, head: &ResponseHead);

    /// Blocks while the connection's task is at work, but not for long. The task takes the slot's lock, so this must be called
    /// without it.
    fn wait_for_turn_end(&self) {}

    /// Gives the connection's socket to the app, if that is possible at once: nothing of an earlier response waits to
    /// be written, no bytes after this request were read, and the connection's task is not at work. Called with the slot's lock
    /// held, as above.
    fn try_hijack(&self) -> Option<Hijacked>;

    /// Whether the app that hijacks the request gets one end of a pair of sockets in any case, because its bytes must be copied.
    fn copies_if_hijacked(&self) -> bool {
        false
    }

    /// Says whether the server has stopped reading the request's body, because the disk is behind. Meanwhile the body
    /// has no deadline, since the client is not late. Afterwards the client has the whole timeout again. Only in the
    /// connection's task.
    fn hold_body(&self, held: bool);

    /// The status of the response to a request whose body is broken or was given up. Only in the connection's task.
    fn body_breach(&self) -> Option<StatusCode>;

    /// The response is that of a long poll, and may wait for long. So the connection must notice when the client
    /// disconnects. The response will be an ordinary one, even if the request asked for an upgrade. Only in the
    /// connection's task.
    fn begin_long_poll(&self);
}

/// Holds a request's reply until the connection takes it. See the module's documentation.
pub(super) struct ReplySlot {
    push: Arc<push::Context>,
    connection: Arc<dyn RequestConnection>,
    state: Lock<SlotState>,
}

#[derive(Debug, Default)]
enum SlotState {
    /// The request is over: it has its reply, or no longer waits for one.
    #[default]
    Closed,
    /// The request is with the app.
    Open,
    /// The same, and the connection's task waits for the reply.
    Awaited(Waker),
    /// The reply may have to wait for what its thread has published.
    Replied(Reply, Option<Box<Unnumbered>>),
    /// The request was dropped without a reply.
    Lost,
}

impl SlotState {
    fn is_open(&self) -> bool {
        matches!(self, SlotState::Open | SlotState::Awaited(_))
    }
}

impl ReplySlot {
    /// A slot for the first request of a connection.
    pub(super) fn new(push: Arc<push::Context>, connection: Arc<dyn RequestConnection>) -> Arc<Self> {
        Arc::new(ReplySlot { push, connection, state: Lock::default() })
    }

    /// Both ends for a new request. They use `slot` if nothing else holds it, otherwise a new slot.
    pub(super) fn open(slot: &mut Arc<ReplySlot>) -> (ReplySender, ReplyReceiver) {
        if Arc::get_mut(slot).is_none() {
            *slot = ReplySlot::new(Arc::clone(&slot.push), Arc::clone(&slot.connection));
        }
        *slot.state.lock() = SlotState::Open;
        let receiver = ReplyReceiver { slot: Arc::clone(slot), held: None };
        let sender = ReplySender { slot: NotInChild::new(slot.push.base.owner, Arc::clone(slot)), sent: false };
        (sender, receiver)
    }

    /// Sets the state. Gives the task to wake, if it waits already. If the request is over, drops `state`.
    fn put(&self, state: SlotState) -> Result<Option<Waker>, RequestOver> {
        let mut current = self.state.lock();
        if !current.is_open() {
            // `state` must be dropped without the lock, because dropping a reply may notify a client.
            drop(current);
            return Err(RequestOver);
        }
        match std::mem::replace(&mut *current, state) {
            SlotState::Awaited(task) => Ok(Some(task)),
            _ => Ok(None),
        }
    }
}

/// The request has its reply already, or does not wait for one any more.
struct RequestOver;

/// The connection's end. As a future it gives the reply, or `None` if the request was dropped without one. It holds the
/// reply back until the messages that the app has published before have their numbers.
pub(super) struct ReplyReceiver {
    slot: Arc<ReplySlot>,
    held: Option<Held>,
}

type Held = Box<(Reply, Unnumbered)>;

impl ReplyReceiver {
    /// The connection.
    pub(super) fn connection(&self) -> &dyn RequestConnection {
        &*self.slot.connection
    }
}

impl Future for ReplyReceiver {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        if self.held.is_some() {
            return self.poll_held(cx);
        }
        let mut state = self.slot.state.lock();
        match &*state {
            SlotState::Awaited(task) if task.will_wake(cx.waker()) => Poll::Pending,
            SlotState::Awaited(_) | SlotState::Open => {
                *state = SlotState::Awaited(cx.waker().clone());
                Poll::Pending
            }
            SlotState::Replied(..) | SlotState::Lost | SlotState::Closed => match std::mem::take(&mut *state) {
                SlotState::Replied(reply, None) => Poll::Ready(Some(reply)),
                SlotState::Replied(reply, Some(unnumbered)) => {
                    drop(state);
                    self.held = Some(Box::new((reply, *unnumbered)));
                    self.poll_held(cx)
                }
                _ => Poll::Ready(None),
            },
        }
    }
}

impl ReplyReceiver {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        if let Some(held) = &mut self.held {
            ready!(Pin::new(&mut held.1).poll(cx));
        }
        Poll::Ready(self.held.take().map(|held| held.0))
    }
}

impl Drop for ReplyReceiver {
    fn drop(&mut self) {
        // A late reply must be dropped without the lock, because dropping it may notify a client.
        let late = std::mem::take(&mut *self.slot.state.lock());
        drop(late);
    }
}

/// The app thread's end. It replies once. It does nothing in a forked child, where a lock may be held by a thread that is
/// not there.
pub(super) struct ReplySender {
    slot: NotInChild<Arc<ReplySlot>>,
    sent: bool,
}

impl ReplySender {
    /// Sends the reply. The client gets it when what this thread has published has its numbers. Returns false if the request
    /// is over.
    pub(super) fn send(mut self, reply: Reply) -> bool {
        self.sent = true;
        if self.forked() {
            return false;
        }
        let unnumbered = Unnumbered::take(&self.slot.push);
        let Ok(task) = self.slot.put(SlotState::Replied(reply, unnumbered)) else { return false };
        if let Some(task) = task {
            let wakeups = Arc::clone(&self.slot.push.base.wakeups);
            // Before the task is woken, so that the connection's next request can use the slot again.
            drop(self);
            wakeups.wake(task);
        }
        true
    }

    /// See [`RequestConnection::inform`]. Does nothing if the request is over.
    pub(super) fn inform(&self, head: &ResponseHead) {
        if !self.forked() {
            // The lock is held, so that the request cannot end meanwhile.
            let state = self.slot.state.lock();
            if state.is_open() {
                self.slot.connection.inform(head);
            }
        }
    }

    /// See [`RequestConnection::try_hijack`]. If it succeeds, the request has its reply.
    pub(super) fn try_hijack(&mut self) -> Option<Hijacked> {
        if self.forked() {
            return None;
        }
        // A thread may give the request to the app while the task that has read it is still at work on another thread.
        self.slot.connection.wait_for_turn_end();
        let mut state = self.slot.state.lock();
        if !state.is_open() {
            return None;
        }
        let hijacked = self.slot.connection.try_hijack()?;
        *state = SlotState::Closed;
        self.sent = true;
        Some(hijacked)
    }

    /// See [`RequestConnection::copies_if_hijacked`].
    pub(super) fn copies_if_hijacked(&self) -> bool {
        !self.forked() && self.slot.connection.copies_if_hijacked()
    }

    /// What all push clients share.
    pub(super) fn push(&self) -> &Arc<push::Context> {
        &self.slot.push
    }

    fn forked(&self) -> bool {
        self.slot.push.base.owner.forked()
    }
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        if !self.sent
            && !self.forked()
            && let Ok(Some(task)) = self.slot.put(SlotState::Lost)
        {
            self.slot.push.base.wakeups.wake(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ResponseHeaders;
    use crate::http::tests::context;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A connection that counts what is asked of it, and allows all of it.
    #[derive(Default)]
    struct Asked {
        informed: AtomicUsize,
        hijacked: AtomicUsize,
    }

    impl RequestConnection for Asked {
        fn inform(&self, _head: &ResponseHead) {
            self.informed.fetch_add(1, Ordering::Relaxed);
        }

        fn try_hijack(&self) -> Option<Hijacked> {
            self.hijacked.fetch_add(1, Ordering::Relaxed);
            Some(Hijacked::Unix(OwnedFd::from(tempfile::tempfile().unwrap())))
        }

        fn hold_body(&self, _held: bool) {}

        fn body_breach(&self) -> Option<StatusCode> {
            None
        }

        fn begin_long_poll(&self) {}
    }

    impl Asked {
        fn counts(&self) -> (usize, usize) {
            (self.informed.load(Ordering::Relaxed), self.hijacked.load(Ordering::Relaxed))
        }
    }

    fn connection() -> (Arc<Asked>, Arc<ReplySlot>) {
        let asked = Arc::new(Asked::default());
        let slot = ReplySlot::new(Arc::clone(&context().push), Arc::clone(&asked) as _);
        (asked, slot)
    }

    fn hints() -> ResponseHead {
        ResponseHead::new(StatusCode::EARLY_HINTS, ResponseHeaders::new())
    }

    fn ok() -> Reply {
        Reply::Response(Response::plain(StatusCode::OK))
    }

    /// The status of the reply, if there is a reply; `Some(None)` if it was lost.
    fn received(receiver: &mut ReplyReceiver) -> Option<Option<StatusCode>> {
        match Pin::new(receiver).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(Some(Reply::Response(response))) => Some(Some(response.head.status)),
            Poll::Ready(None) => Some(None),
            Poll::Ready(Some(reply)) => panic!("{reply:?}"),
        }
    }

    #[test]
    fn a_sender_kept_beyond_its_request_cannot_answer_inform_or_hijack_the_next() {
        let (asked, mut slot) = connection();
        let (mut kept, first) = ReplySlot::open(&mut slot);
        drop(first);
        let (other, second) = ReplySlot::open(&mut slot);
        drop(second);
        let (next, mut receiver) = ReplySlot::open(&mut slot);
        kept.inform(&hints());
        assert!(kept.try_hijack().is_none());
        assert!(!kept.send(ok()));
        drop(other);
        assert_eq!(received(&mut receiver), None, "the request still waits for its own reply");
        assert_eq!(asked.counts(), (0, 0));
        assert!(next.send(ok()));
        assert_eq!(received(&mut receiver), Some(Some(StatusCode::OK)));
    }

    #[test]
    fn a_slot_is_used_again_once_nothing_holds_it() {
        let (_, mut slot) = connection();
        let first = Arc::as_ptr(&slot);
        for _ in 0..2 {
            let (sender, mut receiver) = ReplySlot::open(&mut slot);
            assert_eq!(Arc::as_ptr(&slot), first);
            assert!(sender.send(ok()));
            assert_eq!(received(&mut receiver), Some(Some(StatusCode::OK)));
        }
        let _kept = ReplySlot::open(&mut slot);
        let _next = ReplySlot::open(&mut slot);
        assert_ne!(Arc::as_ptr(&slot), first);
    }

    #[test]
    fn an_open_request_can_be_informed_and_hijacked_once() {
        let (asked, mut slot) = connection();
        let (mut sender, receiver) = ReplySlot::open(&mut slot);
        sender.inform(&hints());
        assert!(sender.try_hijack().is_some());
        assert!(sender.try_hijack().is_none());
        sender.inform(&hints());
        assert_eq!(asked.counts(), (1, 1));
        drop(receiver);
    }

    #[test]
    fn a_sender_that_is_dropped_loses_the_request() {
        let (_, mut slot) = connection();
        let (sender, mut receiver) = ReplySlot::open(&mut slot);
        drop(sender);
        assert_eq!(received(&mut receiver), Some(None));
    }
}
