//! Who drives the reactor, and the queue between it and the workers.
//!
//! A worker that finds nothing to do takes the scheduler: it drives until there are jobs, leaves, and runs
//! them. So a quick app never pays a switch of threads; one at a time drives, the others wait. But a push
//! server must never stop: when nobody has driven for a moment, because the app takes its time, the
//! stand-in, a thread that does nothing else, takes the scheduler, and gives it back when a worker wants it.
//! When the app is slow again and again ([`super::app_latency`]) the stand-in keeps it, and the workers only work.
//!
//! The scheduler is the runtime itself: a value that is either here or with the one who drives.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::Sleep;

use super::app_latency::{self, AppLatency};
use super::job::{Job, Next};
use super::worker::{Worker, WorkerHandle};
use crate::base::lock::{Condition, Lock};
use crate::base::{self, stats::Stats};
use crate::http::{Dispatch, Request};
use crate::push::{Callbacks, Client};

/// How often the stand-in looks whether somebody drives, while there is something to look at.
const TICK: Duration = app_latency::FAST_APP;

/// Ticks without a change until the stand-in stops looking, and is called when the scheduler is left.
const QUIET_TICKS: u32 = 2;

/// The scheduler, the queue, and everybody around them.
///
/// Requests in the queue are bounded; mailboxes need no bound, as each client is queued at most once.
#[derive(Debug)]
pub struct Scheduler {
    state: Lock<State>,
    /// Heard by the stand-in.
    left: Condition,
    /// Heard by who stops the reactor.
    returned: Condition,
    /// Wakes the runtime, whoever drives it; known from the first turn on.
    driver: Arc<OnceLock<Waker>>,
    base: Arc<base::Context>,
}

#[derive(Debug)]
struct State {
    /// `None` before the start, while somebody drives, and after the end.
    runtime: Option<Box<Driven>>,
    driver: Driver,
    jobs: VecDeque<Queued>,
    /// Requests among the jobs.
    requests: usize,
    /// Workers that wait to be called; the last first, whose caches are warm.
    followers: Vec<Arc<WorkerHandle>>,
    app_latency: AppLatency,
    /// The driver knows that there are jobs.
    told: bool,
    /// There is no worker, and none will come soon: requests are refused.
    unattended: bool,
    /// A worker wants the scheduler from the stand-in.
    wanted: bool,
    /// Jobs wait although workers had time to take them: those at work are held up.
    stuck: bool,
    /// The stand-in looks by itself, and need not be called.
    watching: bool,
    /// How often a worker has left the scheduler.
    turns: u64,
    /// How many jobs were taken.
    taken: u64,
    stopping: bool,
    stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Nobody,
    Worker,
    StandIn,
}

/// The runtime, and what its driver needs.
#[derive(Debug)]
struct Driven {
    runtime: Runtime,
    /// For [`base::wakeups::Wakeups::attend`].
    spare: Vec<Waker>,
}

#[derive(Debug)]
struct Queued {
    job: Job,
    since: Instant,
}

impl Scheduler {
    /// A scheduler without jobs. Its queue holds [`crate::Limits::max_queue`] requests; each counts as in flight until it
    /// is answered.
    pub fn new(base: Arc<base::Context>) -> Self {
        let state = State {
            runtime: None,
            driver: Driver::Nobody,
            jobs: VecDeque::new(),
            requests: 0,
            followers: Vec::new(),
            app_latency: AppLatency::default(),
            told: false,
            unattended: false,
            wanted: false,
            stuck: false,
            watching: true,
            turns: 0,
            taken: 0,
            stopping: false,
            stopped: false,
        };
        Scheduler {
            state: Lock::new(state),
            left: Condition::new(),
            returned: Condition::new(),
            driver: Arc::default(),
            base,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// From now on somebody drives `runtime`.
    pub(super) fn begin(&self, runtime: Runtime) {
        self.lock().runtime = Some(Box::new(Driven { runtime, spare: Vec::new() }));
    }

    /// The current thread as a worker.
    pub(super) fn worker(&self) -> Worker {
        Worker::new(Arc::clone(&self.driver))
    }

    // ---- workers ---------------------------------------------------------------------------

    /// See [`super::Reactor::try_next`].
    pub(super) fn try_next(&self, worker: &mut Worker) -> Option<Job> {
        let now = Instant::now();
        let mut state = self.lock();
        state.finish(worker, now);
        state.take(worker, now, &self.base.stats)
    }

    /// See [`super::Reactor::next`].
    pub(super) fn next(&self, worker: &mut Worker) -> Next {
        let mut state = self.lock();
        state.finish(worker, Instant::now());
        self.base.stats.largest_batch.at_least(worker.batch);
        worker.batch = 0;
        loop {
            if !state.stopped && worker.take_interrupt() {
                return Next::Interrupted;
            }
            if let Some(job) = state.take(worker, Instant::now(), &self.base.stats) {
                self.base.stats.batches.add();
                return Next::Job(job);
            }
            if state.stopped {
                return Next::Stopped;
            }
            let at_rest = if state.stopping || state.app_latency.is_slow() { None } else { state.runtime.take() };
            state = match at_rest {
                Some(driven) => self.drive_for_jobs(state, driven, worker),
                None => self.follow(state, worker),
            };
        }
    }

    fn drive_for_jobs<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        mut driven: Box<Driven>,
        worker: &Worker,
    ) -> MutexGuard<'a, State> {
        state.begin_turn(Driver::Worker);
        drop(state);
        self.drive(&mut driven, |_, state| {
            // What it was told of another worker may have taken since.
            state.told = false;
            state.stopping || !state.jobs.is_empty() || worker.interrupted()
        });
        let mut state = self.put_back(driven);
        state.turns += 1;
        // Somebody else may have to look at the sockets: at once if the app is slow, or else after a while.
        if !state.watching || state.app_latency.is_slow() {
            self.left.notify_one();
        }
        state
    }

    /// Waits to be called: for a job, or the scheduler.
    fn follow<'a>(&'a self, mut state: MutexGuard<'a, State>, worker: &Worker) -> MutexGuard<'a, State> {
        if state.driver == Driver::StandIn && !state.app_latency.is_slow() && !state.wanted {
            state.wanted = true;
            self.wake_driver();
        }
        state.followers.push(Arc::clone(worker.handle()));
        drop(state);
        std::thread::park();
        let mut state = self.lock();
        // Woken by something else: then it is still there.
        state.followers.retain(|handle| !Arc::ptr_eq(handle, worker.handle()));
        state
    }

    // ---- driving ---------------------------------------------------------------------------

    /// Drives until `done`, which is asked whenever something may have changed.
    fn drive(&self, driven: &mut Driven, mut done: impl FnMut(&mut Context<'_>, &mut State) -> bool) {
        let Driven { runtime, spare } = driven;
        runtime.block_on(poll_fn(|cx| {
            self.driver.get_or_init(|| cx.waker().clone());
            if done(cx, &mut self.lock()) {
                return Poll::Ready(());
            }
            self.base.timers.begin_turn();
            self.base.wakeups.attend(cx.waker(), spare);
            Poll::Pending
        }));
        self.base.wakeups.leave();
    }

    fn put_back(&self, driven: Box<Driven>) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.runtime = Some(driven);
        state.driver = Driver::Nobody;
        if state.stopping {
            self.returned.notify_all();
        }
        state
    }

    fn wake_driver(&self) {
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    // ---- the stand-in ----------------------------------------------------------------------

    /// Watches over the scheduler until the reactor stops; a thread of its own.
    pub(super) fn stand_in(&self) {
        let mut state = self.lock();
        let (mut unattended, mut quiet) = (false, 0);
        while !state.stopping {
            let nobody = state.driver == Driver::Nobody;
            if nobody
                && (unattended || state.app_latency.is_slow())
                && let Some(driven) = state.runtime.take()
            {
                state = self.substitute(state, driven);
                (unattended, quiet) = (false, 0);
            } else if !nobody && quiet >= QUIET_TICKS {
                state.watching = false;
                state = self.left.wait(state);
                state.watching = true;
                quiet = 0;
            } else {
                let (turns, taken) = (state.turns, state.taken);
                let (changed, timed_out) = self.left.wait_timeout(state, TICK);
                state = changed;
                let same = timed_out && state.turns == turns;
                unattended = same && state.driver == Driver::Nobody;
                quiet = if same && state.driver == Driver::Worker { quiet + 1 } else { 0 };
                if timed_out && state.taken == taken {
                    state.call_for_waiting_jobs();
                }
            }
        }
    }

    /// Drives in the workers' place until one of them wants the scheduler.
    fn substitute<'a>(&'a self, mut state: MutexGuard<'a, State>, mut driven: Box<Driven>) -> MutexGuard<'a, State> {
        state.begin_turn(Driver::StandIn);
        drop(state);
        self.base.stats.stand_ins.add();
        let mut tick = Tick::default();
        self.drive(&mut driven, |cx, state| {
            if !state.stopping && !state.wanted {
                tick.look(cx, state);
            }
            state.stopping || state.wanted
        });
        let mut state = self.put_back(driven);
        state.call_follower();
        state
    }

    // ---- the queue -------------------------------------------------------------------------

    fn push(&self, mut state: MutexGuard<'_, State>, job: Job) {
        let since = Instant::now();
        state.jobs.push_back(Queued { job, since });
        let follower = match state.driver {
            // Whoever has left it looks at the queue before waiting; the stand-in watches.
            Driver::Nobody => return,
            Driver::StandIn if state.app_latency.is_slow() || state.stuck => state.followers.pop(),
            Driver::Worker | Driver::StandIn => None,
        };
        let tell = follower.is_none() && !std::mem::replace(&mut state.told, true);
        drop(state);
        if let Some(follower) = follower {
            follower.call();
        } else if tell {
            self.wake_driver();
        }
    }

    /// See [`super::Reactor::set_attended`].
    pub(super) fn set_attended(&self, attended: bool) {
        let mut state = self.lock();
        state.unattended = !attended;
        if attended {
            return;
        }
        let requests = state.take_requests();
        drop(state);
        self.base.stats.queue_full.add_many(requests.len() as u64);
        for queued in requests {
            if let Job::Request(request, _mark) = queued.job {
                request.refuse();
            }
        }
    }

    // ---- the end ---------------------------------------------------------------------------

    /// Cuts all connections; returns when nobody drives any more.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.left.notify_all();
        self.wake_driver();
        while state.driver != Driver::Nobody {
            state = self.returned.wait(state);
        }
        let driven = state.runtime.take();
        drop(state);
        if let Some(driven) = driven {
            // The streams post their last events as they are dropped.
            driven.runtime.shutdown_background();
        }
        let mut state = self.lock();
        state.stopped = true;
        // Nobody can be answered any more; but clients that were cut still get their last callbacks.
        let requests = state.take_requests();
        let followers = std::mem::take(&mut state.followers);
        drop(state);
        let _: VecDeque<Queued> = requests;
        followers.iter().for_each(|follower| follower.call());
    }
}

/// Looks, while the stand-in drives, whether jobs are taken.
#[derive(Default)]
struct Tick {
    sleep: Option<Pin<Box<Sleep>>>,
    taken: u64,
}

impl Tick {
    fn look(&mut self, cx: &mut Context<'_>, state: &mut State) {
        if let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(cx).is_pending() {
                return;
            }
            self.sleep = None;
            state.stuck = self.taken == state.taken;
            if state.stuck {
                state.call_for_waiting_jobs();
            }
        }
        state.told = !state.jobs.is_empty();
        if state.told {
            self.taken = state.taken;
            let mut sleep = Box::pin(tokio::time::sleep(TICK));
            // Never ready at once.
            let _ = sleep.as_mut().poll(cx);
            self.sleep = Some(sleep);
        }
    }
}

impl State {
    fn begin_turn(&mut self, driver: Driver) {
        self.driver = driver;
        self.told = !self.jobs.is_empty();
        self.wanted = false;
        self.stuck = false;
    }

    fn take(&mut self, worker: &mut Worker, now: Instant, stats: &Stats) -> Option<Job> {
        let Queued { job, since } = self.jobs.pop_front()?;
        self.requests -= usize::from(matches!(job, Job::Request(..)));
        self.taken += 1;
        self.stuck = false;
        worker.busy_since = Some(now);
        worker.batch += 1;
        let waited = now.saturating_duration_since(since).as_micros() as u64;
        stats.jobs.add();
        stats.queue_microseconds.add_many(waited);
        stats.longest_queue_microseconds.at_least(waited);
        Some(job)
    }

    /// The requests in the queue; callbacks stay.
    fn take_requests(&mut self) -> VecDeque<Queued> {
        let all = std::mem::take(&mut self.jobs).into_iter();
        let (requests, callbacks) = all.partition(|queued| matches!(queued.job, Job::Request(..)));
        self.jobs = callbacks;
        self.requests = 0;
        requests
    }

    /// The worker's last job is done.
    fn finish(&mut self, worker: &mut Worker, now: Instant) {
        if let Some(since) = worker.busy_since.take() {
            self.app_latency.record(now.saturating_duration_since(since));
        }
    }

    fn call_follower(&mut self) {
        if let Some(follower) = self.followers.pop() {
            follower.call();
        }
    }

    fn call_for_waiting_jobs(&mut self) {
        if !self.jobs.is_empty() {
            self.call_follower();
        }
    }
}

impl Dispatch for Scheduler {
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        let mut state = self.lock();
        if state.unattended || state.requests >= self.base.limits.max_queue {
            return Err(request);
        }
        state.requests += 1;
        self.push(state, Job::Request(request, self.base.in_flight.guard()));
        Ok(())
    }
}

impl Callbacks for Scheduler {
    fn ready(&self, client: Arc<Client>) {
        self.push(self.lock(), Job::Callbacks(client));
    }
}
