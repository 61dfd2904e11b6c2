//! What the parts of a connection (its task, its socket, hyper, the worker that has its request) know of each other.

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
use crate::base::lock::Lock;
use crate::http::context::Context;

/// The state of one HTTP/1 connection. All that uses it runs in the connection's task, but for a worker that informs the
/// client or takes the socket: so the lock is seldom waited for.
pub(super) struct ConnectionState {
    context: Arc<Context>,
    state: Lock<State>,
    /// hyper holds no bytes for the socket.
    flushed: AtomicBool,
    /// There is an informational response to write.
    informs: AtomicBool,
    /// The response that is being sent waits until hyper has flushed.
    awaits_flush: AtomicBool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) scanner: Scanner,
    /// For hyper, before anything else is read.
    pub(super) ready: Bytes,
    /// Requests that hyper has handed over.
    pub(super) called: u64,
    /// Requests whose response has a head.
    pub(super) answered: u64,
    /// Requests whose response has ended.
    pub(super) ended: u64,
    /// The response that is being sent may last: its body is still being made, or it is that of a long poll.
    pub(super) may_last: bool,
    /// The client has closed its side, which hyper may not know yet.
    pub(super) half_closed: bool,
    /// The last time that the place in the framing changed, a request was handed over, or enough of a body came.
    pub(super) since: Instant,
    /// Bytes of a body since then.
    pub(super) progress: usize,
    /// How many bytes of a body are enough.
    pub(super) body_progress: usize,
    /// The connection's task, if hyper wants to read and gets nothing now.
    pub(super) reader: Option<Waker>,
    /// The connection's task.
    pub(super) task: Option<Waker>,
    /// The task is inside hyper, which may hold bytes that it has not tried to write yet.
    pub(super) in_hyper: bool,
    /// Informational responses that wait to be written.
    pub(super) information: Bytes,
    /// Since when the socket has taken nothing of what waits.
    pub(super) blocked: Option<Instant>,
    /// See [`crate::http::exchange::RequestConnection::hold_body`].
    pub(super) body_held: bool,
    /// HTTP is over, or will be once all is written.
    pub(super) detached: Option<Detached>,
    /// The socket, as long as it is open and HTTP's.
    pub(super) descriptor: Option<Descriptor>,
    /// For the access log.
    pub(super) records: AccessRecords,
}

/// What is to be done about a connection when hyper can do nothing more.
pub(super) enum Look {
    /// HTTP is over.
    Detach(Detached),
    /// To wait, but not for ever.
    Wait(Waiting, Instant),
    /// To wait: the app is at work.
    Busy,
}

impl ConnectionState {
    /// The state of a new connection.
    pub(super) fn new(context: Arc<Context>) -> Arc<Self> {
        let state = State {
            scanner: Scanner::new(&context.base.limits),
            ready: Bytes::new(),
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
            in_hyper: false,
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

    /// The connection's task, to be woken by workers.
    pub(super) fn register(&self, task: &Waker) {
        self.lock().task = Some(task.clone());
    }

    /// The task is about to enter hyper. False if it must not, since a worker has taken the socket for the app.
    pub(super) fn enter_hyper(&self) -> bool {
        let mut state = self.lock();
        state.in_hyper = !matches!(state.detached, Some(Detached::Hijacked));
        state.in_hyper
    }

    /// The task has left hyper, which can do nothing more for now.
    pub(super) fn leave_hyper(&self) -> Look {
        let mut state = self.lock();
        state.in_hyper = false;
        if self.flushed()
            && state.information.is_empty()
            && let Some(detached) = state.detached.take()
        {
            return Look::Detach(detached);
        }
        state.waiting().map_or(Look::Busy, |(waiting, since)| Look::Wait(waiting, since))
    }

    /// hyper hands a request over; returns the refusal if it is the stand-in for a refused one.
    pub(super) fn called(&self) -> Option<StatusCode> {
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

    /// The request handed over last has an ordinary response; `may_last` if its body is still being made. The response
    /// ends when what is returned is dropped.
    pub(super) fn answered(self: &Arc<Self>, status: StatusCode, may_last: bool) -> ResponseInProgress {
        let now = self.context.base.timers.now();
        let mut state = self.lock();
        state.decline_upgrade(now);
        state.answered += 1;
        state.records.answered(status);
        state.may_last = may_last;
        state.wake_reader(self.flushed());
        ResponseInProgress { connection: Arc::clone(self), taken: 0, whole: false }
    }

    /// The request handed over last is to be logged.
    pub(super) fn log(&self, entry: LogEntry) {
        self.lock().records.begin(entry);
    }

    /// The log entry of the request by which the socket is taken over.
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

    /// Whether hyper holds no bytes for the socket. What hyper has not tried to write is not known here: see
    /// [`State::in_hyper`].
    pub(super) fn flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    pub(super) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }

    /// From now on it is not [`ConnectionState::flushed`] until hyper has written all that it holds. Then the connection's
    /// task is woken once.
    pub(super) fn await_flush(&self) {
        self.set_flushed(false);
        self.awaits_flush.store(true, Ordering::Relaxed);
    }

    /// hyper has flushed. Whether a response has waited for that.
    pub(super) fn end_flush(&self) -> bool {
        self.set_flushed(true);
        self.awaits_flush.load(Ordering::Relaxed) && self.awaits_flush.swap(false, Ordering::Relaxed)
    }

    /// Whether the client may go on sending what was refused, or not read whole.
    pub(super) fn expects_more(&self) -> bool {
        let state = self.lock();
        let amid = matches!(state.scanner.place(), Place::Head | Place::Body | Place::Refused | Place::Broken);
        amid && !state.half_closed
    }

    /// The rest of a head did not come: it is answered with 408.
    pub(super) fn time_out_head(&self) {
        let mut state = self.lock();
        state.ready = state.scanner.refuse(StatusCode::REQUEST_TIMEOUT);
    }

    /// The rest of the body that is being read did not come: it is answered with 408.
    pub(super) fn time_out_body(&self) {
        self.lock().scanner.break_body(StatusCode::REQUEST_TIMEOUT);
    }
}

/// A response of which not all has been handed to hyper.
#[derive(Debug)]
pub(super) struct ResponseInProgress {
    connection: Arc<ConnectionState>,
    /// Bytes of the body that hyper has taken.
    taken: u64,
    /// hyper has all it wants.
    whole: bool,
}

impl ResponseInProgress {
    /// The connection.
    pub(super) fn connection(&self) -> &ConnectionState {
        &self.connection
    }

    /// Bytes of the body that hyper has taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// hyper has taken `bytes` of the body; `ended` if that was its end, and never more than `length`.
    pub(super) fn took(&mut self, bytes: u64, ended: bool, length: Option<u64>) {
        self.taken = (self.taken + bytes).min(length.unwrap_or(u64::MAX));
        self.whole |= ended || length.is_some_and(|length| self.taken >= length);
    }
}

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        state.records.ended(self.taken, self.whole);
        state.ended += 1;
        state.may_last = false;
        state.since = self.connection.context.base.timers.now();
        // The flush that follows wakes the reader if need be.
    }
}

/// Dropped when the connection has ended, after everything else of it: what was not sent by then
/// never will be.
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
