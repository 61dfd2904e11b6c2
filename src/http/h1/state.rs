//! The state that the parts of a connection share: its task, its socket, hyper if it is used, and the app thread that has its
//! request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::access_records::AccessRecords;
use super::deadline::Waiting;
use super::detached::{Descriptor, Detached};
use super::framing::{Place, Scanner};
use crate::access_log::LogEntry;
use crate::base;
use crate::base::lock::Lock;
use crate::base::timers::Stamp;
use crate::http::context::Context;
use crate::request_head::Method;

/// The state of one HTTP/1 connection. The connection's task uses it, and seldom an app thread, which sends an informational
/// response or takes the socket. So threads seldom wait for its lock.
pub(super) struct ConnectionState {
    context: Arc<Context>,
    state: Lock<State>,
    /// The socket has all bytes that were to be written.
    flushed: AtomicBool,
    /// There is an informational response to write.
    informs: AtomicBool,
    /// The response that is being sent waits until hyper has flushed.
    awaits_flush: AtomicBool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) scanner: Scanner,
    /// Bytes that hyper gets before more is read from the socket.
    pub(super) ready: Bytes,
    /// When the current request was passed to the service, `None` if its time counts no more.
    pub(super) began: Option<Stamp>,
    /// How many requests were passed to the service. The newest of them is the current one.
    pub(super) called: u64,
    /// How many requests have a response.
    pub(super) answered: u64,
    /// How many requests have a response that has ended.
    pub(super) ended: u64,
    /// The response that is being sent may last: its body is still being made, or it is that of a long poll.
    pub(super) may_last: bool,
    /// The client has closed its side. hyper may not know that yet.
    pub(super) half_closed: bool,
    /// When the deadline began: the last time that the place in the framing changed, that a request was passed on, or
    /// that enough of a body came.
    pub(super) since: Instant,
    /// Bytes of a body since then.
    pub(super) progress: usize,
    /// How many bytes of a body are enough.
    pub(super) body_progress: usize,
    /// The waker of the connection's task, if hyper wants to read and gets nothing now.
    pub(super) reader: Option<Waker>,
    /// The waker of the connection's task.
    pub(super) task: Option<Waker>,
    /// The task is at work, and may hold bytes that it has not tried to write yet.
    pub(super) in_turn: bool,
    /// Informational responses that wait to be written.
    pub(super) information: Bytes,
    /// Since when the socket has taken nothing, although bytes wait for it.
    pub(super) blocked: Option<Instant>,
    /// See [`crate::http::exchange::RequestConnection::hold_body`].
    pub(super) body_held: bool,
    /// HTTP is over, or will be over when everything is written.
    pub(super) detached: Option<Detached>,
    /// The socket's descriptor, as long as the socket is open and used for HTTP.
    pub(super) descriptor: Option<Descriptor>,
    /// For the access log.
    pub(super) records: AccessRecords,
}

impl State {
    /// The response of the current request has ended, or something else goes on from here. To be called by the reactor.
    pub(super) fn count_time(&mut self, status: StatusCode, base: &base::Context) {
        if let Some(began) = self.began.take() {
            let took = base.timers.stamp().microseconds_since(began);
            base.stats.request_time(status.as_u16()).observe(took);
        }
    }
}

/// What the connection's task does when it can do nothing more now.
pub(super) enum NextStep {
    /// HTTP is over.
    Detach(Detached),
    /// It waits, with a deadline that counts from this time.
    Wait(Waiting, Instant),
    /// It waits for the app, without a deadline.
    Busy,
}

impl ConnectionState {
    /// The state of a new connection.
    pub(super) fn new(context: Arc<Context>) -> Arc<Self> {
        let state = State {
            scanner: Scanner::new(&context.base.limits, context.http2),
            ready: Bytes::new(),
            began: None,
            called: 0,
            answered: 0,
            ended: 0,
            may_last: false,
            half_closed: false,
            since: context.base.timers.now(),
            progress: 0,
            body_progress: context.base.limits.body_progress,
            reader: None,
            task: None,
            in_turn: false,
            information: Bytes::new(),
            blocked: None,
            body_held: false,
            detached: None,
            descriptor: None,
            records: AccessRecords::default(),
        };
        let (flushed, informs, awaits_flush) = (AtomicBool::new(true), AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(ConnectionState { context, state: Lock::new(state), flushed, informs, awaits_flush })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What all connections share.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// Stores the waker of the connection's task, for app threads.
    pub(super) fn register(&self, task: &Waker) {
        self.lock().task = Some(task.clone());
    }

    /// The task is about to work. Returns false if it must not, because an app thread has taken the socket for the
    /// app.
    pub(super) fn begin_turn(&self) -> bool {
        let mut state = self.lock();
        state.in_turn = !matches!(state.detached, Some(Detached::Hijacked));
        state.in_turn
    }

    /// The task can do nothing more for now.
    pub(super) fn end_turn(&self) -> NextStep {
        let mut state = self.lock();
        state.in_turn = false;
        if self.flushed()
            && state.information.is_empty()
            && let Some(detached) = state.detached.take()
        {
            return NextStep::Detach(detached);
        }
        state.waiting().map_or(NextStep::Busy, |(waiting, since)| NextStep::Wait(waiting, since))
    }

    /// A request is passed to the service. Returns a status if the request takes the place of one that was refused.
    pub(super) fn called(&self) -> Option<StatusCode> {
        let mut state = self.lock();
        let index = state.called;
        state.called += 1;
        state.began = Some(self.context.base.timers.stamp());
        if state.scanner.place() == Place::Body {
            // The body was not read until now, so its deadline begins now.
            state.since = self.context.base.timers.now();
            state.progress = 0;
        }
        state.scanner.refusal_of(index)
    }

    /// hyper gets a request of `method` that is in the place of the current one, and what came behind that.
    pub(super) fn give_in_place_of(&self, method: Method) {
        let mut state = self.lock();
        state.ready = Scanner::placeholder(method);
        state.give_held(self.context.base.timers.now());
    }

    /// The current request has an ordinary response. `may_last` says that its body is still being written. The response
    /// ends when the returned value is dropped.
    pub(super) fn answered(self: &Arc<Self>, status: StatusCode, may_last: bool) -> ResponseInProgress {
        let now = self.context.base.timers.now();
        let mut state = self.lock();
        state.decline_upgrade(now);
        state.answered += 1;
        state.records.answered(status);
        state.may_last = may_last;
        state.wake_reader(self.flushed());
        ResponseInProgress { connection: Arc::clone(self), status, taken: 0, whole: false }
    }

    /// Sets the log entry of the current request.
    pub(super) fn log(&self, entry: LogEntry) {
        self.lock().records.begin(entry);
    }

    /// Takes the log entry of the request that takes the connection over.
    pub(super) fn take_entry(&self) -> Option<LogEntry> {
        self.lock().records.take()
    }

    /// Whether there may be an informational response to write.
    pub(super) fn informs(&self) -> bool {
        self.informs.load(Ordering::Relaxed)
    }

    pub(super) fn set_informs(&self, informs: bool) {
        self.informs.store(informs, Ordering::Relaxed);
    }

    /// Whether hyper has nothing to do: see [`State::is_hyper_at_rest`].
    pub(super) fn is_hyper_at_rest(&self) -> bool {
        self.flushed() && self.lock().is_hyper_at_rest()
    }

    /// Whether the socket has all bytes that were to be written. While the connection's task runs, there may be bytes that it has
    /// not tried to write: see [`State::in_turn`].
    pub(super) fn flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    pub(super) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }

    /// [`ConnectionState::flushed`] is false until hyper has written all that it holds. Then the connection's task is
    /// woken once.
    pub(super) fn await_flush(&self) {
        self.set_flushed(false);
        self.awaits_flush.store(true, Ordering::Relaxed);
    }

    /// Everything was written and flushed. Returns whether a response has waited for that.
    pub(super) fn end_flush(&self) -> bool {
        self.set_flushed(true);
        self.awaits_flush.load(Ordering::Relaxed) && self.awaits_flush.swap(false, Ordering::Relaxed)
    }

    /// Whether the client may still be sending a request that was refused or not read completely.
    pub(super) fn expects_more(&self) -> bool {
        let state = self.lock();
        let amid = matches!(state.scanner.place(), Place::Head | Place::Body | Place::Refused | Place::Broken);
        amid && !state.half_closed
    }

    /// The rest of a head did not come in time. The response will be 408.
    pub(super) fn time_out_head(&self) {
        let mut state = self.lock();
        state.ready = state.scanner.refuse(StatusCode::REQUEST_TIMEOUT);
    }

    /// The rest of a body did not come in time. The response will be 408.
    pub(super) fn time_out_body(&self) {
        self.lock().scanner.break_body(StatusCode::REQUEST_TIMEOUT);
    }
}

/// A response that is being sent. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct ResponseInProgress {
    connection: Arc<ConnectionState>,
    status: StatusCode,
    /// Bytes of the body that were taken to be written: by hyper, or directly.
    taken: u64,
    /// All of the body was taken.
    whole: bool,
}

impl ResponseInProgress {
    /// The connection.
    pub(super) fn connection(&self) -> &ConnectionState {
        &self.connection
    }

    /// Bytes of the body that were taken to be written.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// `bytes` more of the body were taken to be written. `ended` says that these were the last. At most `length` are taken in all.
    pub(super) fn took(&mut self, bytes: u64, ended: bool, length: Option<u64>) {
        self.taken = (self.taken + bytes).min(length.unwrap_or(u64::MAX));
        self.whole |= ended || length.is_some_and(|length| self.taken >= length);
    }
}

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        state.records.ended(self.taken, self.whole);
        state.count_time(self.status, &self.connection.context.base);
        state.ended += 1;
        state.may_last = false;
        state.since = self.connection.context.base.timers.now();
        // The socket is flushed next, and that wakes the reader if necessary.
    }
}

/// Dropped last when a connection has ended. What was not sent by then is never sent.
pub(super) struct EndOfConnection(pub(super) Arc<ConnectionState>);

impl Drop for EndOfConnection {
    fn drop(&mut self) {
        self.0.lock().records.close();
    }
}

impl std::fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionState").field("state", &self.state).finish_non_exhaustive()
    }
}
