//! What the app thread that has a request and the task of its stream share.

use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Instant;

use http::StatusCode;

use super::transport::Wire;
use crate::base::lock::Lock;
use crate::base::timers::Stamp;
use crate::http::context::Context;
use crate::http::exchange::RequestConnection;
use crate::http::head::ResponseHead;
use crate::http::hijack::Hijacked;
use crate::net::h2_stream::H2Connection;

/// How many informational responses may wait for the stream's task. Further ones are not sent.
const MAX_INFORMATION: usize = 16;

/// Counts the requests of a connection whose [`RequestState`] exists.
#[derive(Default)]
pub(super) struct Unfinished(Arc<()>);

impl Unfinished {
    pub(super) fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// The state of one request, until its response begins, and as long as the app has it.
pub(super) struct RequestState {
    context: Arc<Context>,
    wire: Arc<Wire>,
    /// One of [`Unfinished`].
    _one: Arc<()>,
    /// When the request came, as a stamp of the reactor's clock.
    began: Stamp,
    state: Lock<State>,
}

struct State {
    /// Informational responses that wait to be sent.
    information: Vec<ResponseHead>,
    task: Option<Waker>,
    /// When the deadline of the body began.
    since: Instant,
    /// Bytes of the body since then.
    progress: usize,
    timed_out: bool,
    /// The time of the request was counted.
    counted: bool,
}

impl RequestState {
    pub(super) fn new(context: Arc<Context>, wire: Arc<Wire>, unfinished: &Unfinished) -> Arc<Self> {
        let since = context.base.timers.now();
        let began = context.base.timers.stamp();
        let state = State { information: Vec::new(), task: None, since, progress: 0, timed_out: false, counted: false };
        Arc::new(RequestState { context, wire, _one: Arc::clone(&unfinished.0), began, state: Lock::new(state) })
    }

    /// What all connections share.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The connection that the stream belongs to.
    pub(super) fn connection(&self) -> Arc<dyn H2Connection> {
        Arc::clone(&self.wire) as _
    }

    /// After the whole process was stopped for a while, the reactor sees deadlines before it sees sockets. Then the task is woken
    /// again.
    pub(super) fn is_about_to_move(&self, cx: &TaskContext<'_>) -> bool {
        let moves = self.wire.is_about_to_move();
        if moves {
            cx.waker().wake_by_ref();
        }
        moves
    }

    /// Stores the waker of the stream's task, for workers.
    pub(super) fn register(&self, task: &Waker) {
        self.state.lock().task = Some(task.clone());
    }

    /// Takes the informational responses that wait.
    pub(super) fn take_information(&self) -> Vec<ResponseHead> {
        std::mem::take(&mut self.state.lock().information)
    }

    /// The response has ended, or something else goes on from here. Does nothing if that was counted already.
    pub(super) fn count_time(&self, status: StatusCode) {
        let base = &self.context.base;
        if !std::mem::replace(&mut self.state.lock().counted, true) {
            let took = base.timers.stamp().microseconds_since(self.began);
            base.stats.request_time(status.as_u16()).observe(took);
        }
    }

    /// Bytes of the body have come.
    pub(super) fn body_came(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.progress += bytes;
        if state.progress >= self.context.base.limits.body_progress {
            state.progress = 0;
            state.since = self.context.base.timers.now();
        }
    }

    /// When more of the body must have come.
    pub(super) fn body_deadline(&self) -> Instant {
        self.state.lock().since + self.context.base.limits.body_timeout
    }

    /// It did not come.
    pub(super) fn time_out_body(&self) {
        self.state.lock().timed_out = true;
        self.context.base.stats.body_timeouts.add();
    }
}

impl RequestConnection for RequestState {
    fn inform(&self, head: &ResponseHead) {
        let mut state = self.state.lock();
        if state.information.len() < MAX_INFORMATION {
            state.information.push(head.clone());
            let task = state.task.clone();
            drop(state);
            if let Some(task) = task {
                self.context.base.wakeups.wake(task);
            }
        }
    }

    /// A stream has no socket.
    fn try_hijack(&self) -> Option<Hijacked> {
        None
    }

    fn copies_if_hijacked(&self) -> bool {
        true
    }

    fn hold_body(&self, held: bool) {
        if !held {
            let mut state = self.state.lock();
            state.since = self.context.base.timers.now();
            state.progress = 0;
        }
    }

    fn body_breach(&self) -> Option<StatusCode> {
        self.state.lock().timed_out.then_some(StatusCode::REQUEST_TIMEOUT)
    }

    fn begin_long_poll(&self) {
        // The stream's task always notices when its client goes.
        self.count_time(StatusCode::OK);
    }
}
