//! What a connection's parts (the socket, the service, the deadlines, the worker that has its request) know of each
//! other.

mod reading;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::Context;
use super::answer::Awaited;
use super::entries::Entries;
use super::framing::{Place, Scanner};
use super::request::Takeover;
use crate::access_log::Entry;
use crate::base::lock::Lock;
pub(super) use reading::Read;

/// Bytes of informational responses that wait for the socket, beyond which there are no more.
const MAX_INFORMATION: usize = 64 * 1024;

/// A connection under watch. All of its parts but the worker run in one task, so the lock is seldom waited for.
pub struct Watch {
    context: Arc<Context>,
    state: Lock<State>,
    /// hyper holds no bytes for the socket.
    flushed: AtomicBool,
    /// There is an informational response to write.
    informs: AtomicBool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) scanner: Scanner,
    /// For hyper, before anything else is read.
    pub(super) ready: Bytes,
    /// Requests that hyper handed to the service.
    called: u64,
    /// Responses the service has made the head of.
    answered: u64,
    /// Responses whose body has ended too.
    ended: u64,
    /// The body being sent is still being made: it may last.
    streaming: bool,
    /// The peer has said all it will say, which hyper does not know yet.
    pub(super) half_closed: bool,
    /// The last time that the place in the framing changed, a request was handed to the service, or enough of a body
    /// came.
    since: Instant,
    /// Bytes of a body since then.
    progress: usize,
    body_progress: usize,
    /// The connection's task, if hyper wants to read and [`State::next_read`] is [`Read::Nothing`].
    reader: Option<Waker>,
    /// The connection's task.
    task: Option<Waker>,
    /// An informational response that waits to be written.
    pub(super) information: Bytes,
    /// The socket has taken nothing since.
    pub(super) blocked: Option<Instant>,
    /// See [`Watch::hold_body`].
    body_held: bool,
    /// The answer to the request that is with the app.
    pub(super) awaited: Awaited,
    /// The app wants the socket.
    takeover: Option<Takeover>,
    /// For the access log.
    pub(super) entries: Entries,
}

/// Which deadline applies to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For the first byte of a connection.
    FirstRequest,
    /// For the next request.
    NextRequest,
    /// For the rest of a head.
    Head,
    /// For more of a body.
    Body,
    /// For the socket to take something.
    Write,
}

/// What a connection needs, beside hyper.
pub(super) enum Look {
    /// Its socket goes to somebody else.
    TakeOver(Takeover),
    /// The deadline of a wait.
    Waiting(Waiting, Instant),
    /// Nothing: the app is at work.
    Busy,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Waiting::FirstRequest => "a first request (head_timeout)",
            Waiting::NextRequest => "another request (keep_alive_timeout)",
            Waiting::Head => "the rest of a head (head_timeout)",
            Waiting::Body => "the rest of a body (body_timeout, body_progress)",
            Waiting::Write => "its response to be taken (write_timeout)",
        })
    }
}

impl Watch {
    /// A watch over a new connection.
    pub(super) fn new(context: Arc<Context>) -> Arc<Self> {
        let state = State {
            scanner: Scanner::new(&context.base.limits),
            ready: Bytes::new(),
            called: 0,
            answered: 0,
            ended: 0,
            streaming: false,
            half_closed: false,
            since: context.base.timers.now(),
            progress: 0,
            body_progress: context.base.limits.body_progress,
            reader: None,
            task: None,
            information: Bytes::new(),
            blocked: None,
            body_held: false,
            awaited: Awaited::default(),
            takeover: None,
            entries: Entries::default(),
        };
        let (flushed, informs) = (AtomicBool::new(true), AtomicBool::new(false));
        Arc::new(Watch { context, state: Lock::new(state), flushed, informs })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What all connections share.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// hyper hands a request to the service; returns the refusal if it is the stand-in for one.
    pub fn called(&self) -> Option<StatusCode> {
        let mut state = self.lock();
        let index = state.called;
        state.called += 1;
        if state.scanner.place() == Place::Body {
            // The body was not wanted until now, so its time begins now.
            state.since = self.context.base.timers.now();
            state.progress = 0;
        }
        state.scanner.refusal_of(index)
    }

    /// A request is about to be handed to the app.
    pub(super) fn ask(&self) {
        self.lock().awaited = Awaited::Asked;
    }

    /// The service has an ordinary response to the request it was called with last; `streaming`
    /// if its body is still being made. The response ends when what is returned is dropped.
    pub fn answered(self: &Arc<Self>, status: StatusCode, streaming: bool) -> ResponseInProgress {
        let now = self.context.base.timers.now();
        let mut state = self.lock();
        state.decline_upgrade(now);
        state.answered += 1;
        state.entries.answered(status);
        state.streaming = streaming;
        state.wake_reader(self.flushed());
        ResponseInProgress { watch: Arc::clone(self), taken: 0, whole: false }
    }

    /// The response to the request handed over last waits for something to say. That may be long: the
    /// end of the peer is worth knowing. It will be an ordinary one, whatever else was asked for.
    pub(super) fn polls(&self) {
        let now = self.context.base.timers.now();
        let mut state = self.lock();
        state.decline_upgrade(now);
        state.streaming = true;
        state.wake_reader(self.flushed());
    }

    /// The request handed over last is to be logged.
    pub(super) fn log(&self, entry: Entry) {
        self.lock().entries.begin(entry);
    }

    /// The log entry of the request by which the socket is taken over.
    pub(super) fn take_entry(&self) -> Option<Entry> {
        self.lock().entries.take()
    }

    /// The status of the answer to the request handed over last, if its body is broken or was given up.
    pub fn body_breach(&self) -> Option<StatusCode> {
        let state = self.lock();
        state.scanner.breach_of(state.called.checked_sub(1)?)
    }

    /// What came in behind the request, for whoever takes the socket over: what hyper has read
    /// (`buffered`), what was ready for it, and what the scanner held back.
    pub fn take_unread(&self, buffered: &Bytes) -> Bytes {
        let mut state = self.lock();
        let ready = std::mem::take(&mut state.ready);
        let handed = if ready.is_empty() { buffered.clone() } else { [&buffered[..], &ready].concat().into() };
        let handed = state.scanner.without_stand_in(handed);
        let held = state.scanner.take_held();
        if handed.is_empty() { held } else { [&handed[..], &held].concat().into() }
    }

    /// Has `head` written at once, ahead of the response, or not at all.
    pub fn inform(&self, head: Bytes) {
        if self.context.base.owner.forked() {
            return;
        }
        let mut state = self.lock();
        if self.flushed() && state.information.len() < MAX_INFORMATION {
            state.information = [&state.information[..], &head].concat().into();
            self.informs.store(true, Ordering::Relaxed);
            let task = state.task.clone();
            drop(state);
            if let Some(task) = task {
                self.context.base.wakeups.wake(task);
            }
        }
    }

    /// Whether there may be an informational response to write.
    pub(super) fn informs(&self) -> bool {
        self.informs.load(Ordering::Relaxed)
    }

    /// The informational response is written.
    pub(super) fn informed(&self) {
        self.informs.store(false, Ordering::Relaxed);
    }

    /// Whether hyper holds no bytes for the socket.
    pub(super) fn flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    pub(super) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }

    /// The connection's task, to be woken by [`Watch::inform`].
    pub fn register(&self, waker: &Waker) {
        self.lock().task = Some(waker.clone());
    }

    /// The app takes the socket, as soon as nothing of an earlier response waits in hyper.
    pub(super) fn take_over(&self, takeover: Takeover) {
        self.lock().takeover = Some(takeover);
    }

    /// What is to be done about the connection once hyper can do nothing more.
    pub(super) fn look(&self) -> Look {
        let mut state = self.lock();
        if self.flushed()
            && state.information.is_empty()
            && let Some(takeover) = state.takeover.take()
        {
            return Look::TakeOver(takeover);
        }
        state.waiting().map_or(Look::Busy, |(waiting, since)| Look::Waiting(waiting, since))
    }

    /// Says whether the server does not read the body for now, because the disk is behind. Meanwhile the body's deadline
    /// stands still, since the client is not the one who is late. Afterwards the client has its whole time again.
    pub(super) fn hold_body(&self, held: bool) {
        let mut state = self.lock();
        state.body_held = held;
        if !held && state.scanner.place() == Place::Body {
            state.since = self.context.base.timers.now();
            state.progress = 0;
        }
    }

    /// Whether the client may go on sending what was refused, or not read whole.
    pub(super) fn expects_more(&self) -> bool {
        let state = self.lock();
        let amid = matches!(state.scanner.place(), Place::Head | Place::Body | Place::Refused | Place::Broken);
        amid && !state.half_closed
    }

    /// The rest of a head did not come: it is answered with 408.
    pub fn time_out_head(&self) {
        let mut state = self.lock();
        state.ready = state.scanner.refuse(StatusCode::REQUEST_TIMEOUT);
    }

    /// The rest of the body that is being read did not come: it is answered with 408.
    pub fn time_out_body(&self) {
        self.lock().scanner.break_body(StatusCode::REQUEST_TIMEOUT);
    }
}

/// A response of which not all has been handed to hyper.
#[derive(Debug)]
pub struct ResponseInProgress {
    watch: Arc<Watch>,
    /// Bytes of the body that hyper has taken.
    taken: u64,
    /// It has all it wants.
    whole: bool,
}

impl ResponseInProgress {
    /// What all connections share.
    pub(super) fn context(&self) -> &Context {
        &self.watch.context
    }

    /// hyper has taken `bytes` of the body; `ended` if that was its end, and never more than `length`.
    pub(super) fn took(&mut self, bytes: u64, ended: bool, length: Option<u64>) {
        self.taken = (self.taken + bytes).min(length.unwrap_or(u64::MAX));
        self.whole |= ended || length.is_some_and(|length| self.taken >= length);
    }
}

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        state.entries.ended(self.taken, self.whole);
        state.ended += 1;
        state.streaming = false;
        state.since = self.watch.context.base.timers.now();
        // The flush that follows wakes the reader if need be.
    }
}

/// Dropped when the connection has ended, after everything else of it: what was not sent by then
/// never will be.
pub(super) struct Ending(pub(super) Arc<Watch>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().entries.close();
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("state", &self.state).finish_non_exhaustive()
    }
}
