//! Which thread drives the reactor, and which app thread gets a job.
//!
//! An app thread that finds no job drives the runtime itself until there are jobs, parks the runtime, and runs the jobs. So
//! a fast app never pays a switch of threads. One thread drives at a time; the other app threads are idle. But push
//! connections must be served while all app threads are busy: when no thread has driven for a moment, the standby thread
//! ([`super::standby`]) drives until an app thread wants to again. When many jobs are slow ([`super::app_latency`]), the
//! standby thread keeps driving, and app threads only run jobs. This is the leader/followers pattern, with a leader in
//! reserve.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::app_thread::AppThread;
use super::job::{Job, Next};
use super::queue::QueuedJob;
use super::state::{Driver, LocalRuntime, Notify, SchedulerState, StopPhase};
use super::watchdog::TimerChange;
use crate::base;
use crate::base::lock::{Condition, Lock};
use crate::base::timerfd::Timerfd;
use crate::http::{Dispatch, Request};
use crate::push::{Callbacks, Client};

/// The runtime, the queue of jobs, and the threads that wait for either. Any thread.
#[derive(Debug)]
pub struct Scheduler {
    state: Lock<SchedulerState>,
    /// The standby thread waits for this, if the system has it. Set under the lock.
    pub(super) timer: OnceLock<Timerfd>,
    /// Without a timer, the standby thread waits for this: an app thread has parked the runtime, or the reactor stops.
    pub(super) parked: Condition,
    /// The thread that stops the reactor waits for this: no thread drives any more.
    undriven: Condition,
    /// Wakes the thread that drives, whichever it is. Set by the first turn.
    driver_waker: Arc<OnceLock<Waker>>,
    pub(super) base: Arc<base::Context>,
}

impl Scheduler {
    /// A scheduler without jobs. Its queue holds [`crate::Limits::max_queue`] requests; each counts as in flight until
    /// it is answered.
    pub fn new(base: Arc<base::Context>) -> Self {
        Scheduler {
            state: Lock::new(SchedulerState::new()),
            timer: OnceLock::new(),
            parked: Condition::new(),
            undriven: Condition::new(),
            driver_waker: Arc::default(),
            base,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SchedulerState> {
        self.state.lock()
    }

    /// From now on some thread drives `runtime`.
    pub(super) fn start(&self, runtime: Runtime) {
        drop(self.park(Box::new(LocalRuntime { runtime, spare: Vec::new() }), Instant::now()));
    }

    /// Makes the timer of the standby thread, before that thread starts. In each process: a timer that was made before a
    /// fork belongs to the parent, too.
    pub(super) fn make_timer(&self) {
        match Timerfd::blocking() {
            Ok(timer) => drop(self.timer.set(timer)),
            Err(error) => log::debug!("there is no timer, so the standby thread looks again and again: {error}"),
        }
    }

    /// The current thread as an app thread.
    pub(super) fn app_thread(&self) -> AppThread {
        AppThread::new(Arc::clone(&self.driver_waker))
    }

    // ---- app threads -----------------------------------------------------------------------

    /// See [`super::Reactor::try_next`].
    pub(super) fn try_next(&self, app_thread: &mut AppThread) -> Option<Job> {
        let now = Instant::now();
        let mut state = self.lock();
        state.finish(app_thread, now);
        state.take(app_thread, now, &self.base.stats)
    }

    /// See [`super::Reactor::next`].
    pub(super) fn next(&self, app_thread: &mut AppThread) -> Next {
        let mut now = Instant::now();
        let mut state = self.lock();
        state.finish(app_thread, now);
        self.base.stats.largest_batch.at_least(app_thread.batch);
        app_thread.batch = 0;
        loop {
            if state.stop != StopPhase::Stopped && app_thread.take_interrupt() {
                return Next::Interrupted;
            }
            if let Some(job) = state.take(app_thread, now, &self.base.stats) {
                self.base.stats.batches.add();
                return Next::Job(job);
            }
            if state.stop == StopPhase::Stopped {
                return Next::Stopped;
            }
            (state, now) = match state.begin_app_turn() {
                Some(runtime) => self.drive_as_app_thread(state, runtime, app_thread),
                None => self.wait_idle(state, app_thread),
            };
        }
    }

    /// Drives until there is something else for the app thread to do. The time after that, as in [`Self::wait_idle`].
    fn drive_as_app_thread<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        mut runtime: Box<LocalRuntime>,
        app_thread: &AppThread,
    ) -> (MutexGuard<'a, SchedulerState>, Instant) {
        self.set_timer(state.watchdog.drive());
        drop(state);
        self.drive(&mut runtime, |_, state| state.ends_app_turn(app_thread.interrupted()));
        let now = Instant::now();
        // The standby thread drives next: at once if the app is slow, or else when no thread has driven for a tick.
        let mut state = self.park(runtime, now);
        state.app_turns += 1;
        if state.standby_sleeps || state.app_latency.is_slow() {
            self.parked.notify_one();
        }
        (state, now)
    }

    /// Waits until the app thread is woken: for a job, to drive, or by [`super::AppThreadHandle::interrupt`].
    fn wait_idle<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        app_thread: &AppThread,
    ) -> (MutexGuard<'a, SchedulerState>, Instant) {
        if state.request_handover() {
            self.wake_driver();
        }
        state.idle_threads.push(Arc::clone(app_thread.handle()));
        drop(state);
        std::thread::park();
        let mut state = self.lock();
        // An interrupt, or a park that ends without a reason, does not remove the app thread from the idle ones.
        state.idle_threads.retain(|handle| !Arc::ptr_eq(handle, app_thread.handle()));
        (state, Instant::now())
    }

    // ---- driving ---------------------------------------------------------------------------

    /// Drives until `ends` is true, which is asked whenever something may have changed.
    pub(super) fn drive(
        &self,
        runtime: &mut LocalRuntime,
        mut ends: impl FnMut(&mut Context<'_>, &mut SchedulerState) -> bool,
    ) {
        let LocalRuntime { runtime, spare } = runtime;
        runtime.block_on(poll_fn(|cx| {
            self.driver_waker.get_or_init(|| cx.waker().clone());
            if ends(cx, &mut self.lock()) {
                return Poll::Ready(());
            }
            self.base.timers.begin_turn();
            self.base.wakeups.attend(cx.waker(), spare);
            Poll::Pending
        }));
        self.base.wakeups.leave();
    }

    /// Ends a turn.
    pub(super) fn park(&self, runtime: Box<LocalRuntime>, now: Instant) -> MutexGuard<'_, SchedulerState> {
        let mut state = self.lock();
        state.park(runtime);
        self.set_timer(state.watch(now));
        if state.stop != StopPhase::Running {
            self.undriven.notify_all();
        }
        state
    }

    /// Under the lock, so that the timer is what [`SchedulerState::watchdog`] says.
    pub(super) fn set_timer(&self, change: TimerChange) {
        match (change, self.timer.get()) {
            (TimerChange::Keep, _) | (_, None) => {}
            (TimerChange::Arm(after), Some(timer)) => timer.arm(after),
            (TimerChange::Disarm, Some(timer)) => timer.disarm(),
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = self.driver_waker.get() {
            driver.wake_by_ref();
        }
    }

    // ---- jobs ------------------------------------------------------------------------------

    fn push(&self, mut state: MutexGuard<'_, SchedulerState>, job: Job) {
        let notify = state.push(job, Instant::now());
        drop(state);
        match notify {
            Notify::NoThread => {}
            Notify::Driver => self.wake_driver(),
            Notify::AppThread(app_thread) => app_thread.wake(),
        }
    }

    /// See [`super::Reactor::set_attended`].
    pub(super) fn set_attended(&self, attended: bool) {
        let mut state = self.lock();
        state.unattended = !attended;
        if attended {
            return;
        }
        let requests = state.queue.remove_requests();
        drop(state);
        self.base.stats.queue_full.add_many(requests.len() as u64);
        for queued in requests {
            if let Job::Request(request, _guard) = queued.job {
                request.refuse();
            }
        }
    }

    // ---- the stop --------------------------------------------------------------------------

    /// Cuts all connections. Blocks until no thread drives any more.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stop = state.stop.max(StopPhase::Stopping);
        self.parked.notify_all();
        self.set_timer(TimerChange::Arm(Duration::ZERO));
        self.wake_driver();
        while state.is_driven() {
            state = self.undriven.wait(state);
        }
        let driver = std::mem::replace(&mut state.driver, Driver::NoRuntime);
        drop(state);
        if let Driver::Parked(local) = driver {
            // The streams post their last events as they are dropped.
            local.runtime.shutdown_background();
        }
        let mut state = self.lock();
        state.stop = StopPhase::Stopped;
        // No request can be answered any more, but clients that were cut still get their last callbacks.
        let requests: VecDeque<QueuedJob> = state.queue.remove_requests();
        let idle_threads = std::mem::take(&mut state.idle_threads);
        drop(state);
        // Not under the lock: a request that is dropped tells its connection.
        drop(requests);
        idle_threads.iter().for_each(|app_thread| app_thread.wake());
    }
}

impl Dispatch for Scheduler {
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        let state = self.lock();
        if state.unattended || state.queue.requests() >= self.base.limits.max_queue {
            return Err(request);
        }
        self.push(state, Job::Request(request, self.base.in_flight.guard()));
        Ok(())
    }
}

impl Callbacks for Scheduler {
    fn ready(&self, client: Arc<Client>) {
        self.push(self.lock(), Job::Callbacks(client));
    }
}
