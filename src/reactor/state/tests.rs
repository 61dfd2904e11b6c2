//! The transitions of the driver, one at a time and without threads.

mod watching;

use std::time::Duration;

use super::*;
use crate::Limits;
use crate::base;
use crate::channel::{Shape, Since};
use crate::engine::Local;
use crate::net::Peer;
use crate::push::{self, Callbacks, Client, EventInterest, Negotiated, Protocol, PubSub};
use crate::reactor::app_latency::FAST_APP;

struct NoCallbacks;

impl Callbacks for NoCallbacks {
    fn ready(&self, _client: Arc<Client>) {}
}

fn job() -> Job {
    let context = push::Context::new(
        Arc::new(base::Context::new(Limits::default())),
        Arc::new(NoCallbacks),
        PubSub::new(Local::shared),
    );
    let negotiated = Negotiated {
        protocol: Protocol::Sse,
        encoding: Shape::EventStream.into(),
        deflate: None,
        since: Since::Now,
        polls: false,
    };
    let interest = EventInterest { message: false, drained: false, gap: false };
    Job::Callbacks(Client::new(Arc::new(context), negotiated, Peer::Unix, interest))
}

fn app_thread() -> AppThread {
    AppThread::new(Arc::default())
}

/// A state whose reactor has started.
fn started() -> SchedulerState {
    let mut state = SchedulerState::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    state.park(Box::new(LocalRuntime { runtime, spare: Vec::new() }));
    state
}

fn with_idle_thread() -> (SchedulerState, AppThread) {
    let (mut state, app_thread) = (started(), app_thread());
    state.idle_threads.push(Arc::clone(app_thread.handle()));
    (state, app_thread)
}

impl SchedulerState {
    fn push_now(&mut self) -> Notify {
        self.push(job(), Instant::now())
    }

    fn take_now(&mut self) -> bool {
        self.take(&mut app_thread(), Instant::now(), &Stats::default()).is_some()
    }

    fn make_slow(&mut self) {
        (0..100).for_each(|_| self.app_latency.record(FAST_APP));
    }

    fn make_fast(&mut self) {
        (0..1000).for_each(|_| self.app_latency.record(Duration::ZERO));
    }
}

#[test]
fn a_thread_drives_neither_before_the_start_nor_while_another_does() {
    let mut state = SchedulerState::new();
    assert!(state.begin_app_turn().is_none() && state.begin_standby_turn().is_none());
    assert!(!state.is_driven());

    let mut state = started();
    let runtime = state.begin_app_turn().unwrap();
    assert!(state.is_driven());
    assert!(state.begin_app_turn().is_none() && state.begin_standby_turn().is_none());
    assert!(matches!(state.driver, Driver::AppThread { .. }));
    state.park(runtime);
    let runtime = state.begin_standby_turn().unwrap();
    assert!(state.begin_app_turn().is_none() && state.begin_standby_turn().is_none());
    assert!(matches!(state.driver, Driver::Standby { .. }));
    state.park(runtime);
    assert!(!state.is_driven());
}

#[test]
fn an_app_thread_does_not_drive_for_a_slow_app_or_while_the_reactor_stops() {
    let mut state = started();
    state.make_slow();
    assert!(state.begin_app_turn().is_none());
    state.make_fast();
    state.stop = StopPhase::Stopping;
    assert!(state.begin_app_turn().is_none());
    state.stop = StopPhase::Running;
    assert!(state.begin_app_turn().is_some());
}

#[test]
fn an_app_thread_that_drives_is_woken_once_for_many_jobs_and_again_after_it_has_looked() {
    let (mut state, _idle) = with_idle_thread();
    let _runtime = state.begin_app_turn();
    assert!(matches!(state.push_now(), Notify::Driver));
    assert!(matches!(state.push_now(), Notify::NoThread));
    // Other app threads take the jobs before the driver looks.
    assert!(state.take_now() && state.take_now());
    assert!(!state.ends_app_turn(false));
    assert!(matches!(state.push_now(), Notify::Driver));
    assert!(state.ends_app_turn(false));
    assert_eq!(state.idle_threads.len(), 1);
}

#[test]
fn an_app_thread_that_drives_parks_for_an_interrupt_and_for_the_stop() {
    let mut state = started();
    let _runtime = state.begin_app_turn();
    assert!(!state.ends_app_turn(false));
    assert!(state.ends_app_turn(true));
    state.stop = StopPhase::Stopping;
    assert!(state.ends_app_turn(false));
}

#[test]
fn no_thread_is_woken_for_a_job_while_the_runtime_is_parked() {
    let (mut state, _idle) = with_idle_thread();
    assert!(matches!(state.push_now(), Notify::NoThread));
    assert_eq!(state.idle_threads.len(), 1);
    // The next driver knows of the job.
    let _runtime = state.begin_standby_turn();
    assert!(matches!(state.push_now(), Notify::NoThread));
}

#[test]
fn the_standby_driver_is_woken_for_a_job_of_a_fast_app() {
    let (mut state, _idle) = with_idle_thread();
    let _runtime = state.begin_standby_turn();
    assert!(matches!(state.push_now(), Notify::Driver));
    assert!(matches!(state.push_now(), Notify::NoThread));
    assert!(state.look_at_queue());
    assert!(matches!(state.push_now(), Notify::NoThread), "it has seen the queue, and looks again after a tick");
    assert!(state.take_now() && state.take_now() && state.take_now());
    assert!(!state.look_at_queue());
    assert!(matches!(state.push_now(), Notify::Driver));
}

#[test]
fn the_standby_driver_does_not_look_after_a_tick_while_no_thread_is_idle() {
    let mut state = started();
    let _runtime = state.begin_standby_turn();
    assert!(matches!(state.push_now(), Notify::Driver));
    assert!(!state.look_at_queue());
    // The busy thread takes the job, and becomes idle. Nobody has told the driver.
    assert!(state.take_now());
    let idle = app_thread();
    state.idle_threads.push(Arc::clone(idle.handle()));
    assert!(matches!(state.push_now(), Notify::Driver));
    assert!(state.look_at_queue());
}

#[test]
fn an_idle_thread_is_woken_for_each_job_of_a_slow_app() {
    let (mut state, idle) = with_idle_thread();
    state.make_slow();
    let _runtime = state.begin_standby_turn();
    assert!(matches!(state.push_now(), Notify::AppThread(woken) if Arc::ptr_eq(&woken, idle.handle())));
    assert!(matches!(state.push_now(), Notify::Driver), "no other thread is idle");
}

#[test]
fn an_idle_thread_is_woken_when_jobs_stall_and_until_one_is_taken() {
    let (mut state, first) = with_idle_thread();
    let others = [app_thread(), app_thread()];
    let _runtime = state.begin_standby_turn();
    state.push_now();
    assert!(state.look_at_queue());
    let taken = state.queue.taken();
    let woken = state.end_tick(taken);
    assert!(woken.is_some_and(|woken| Arc::ptr_eq(&woken, first.handle())));
    state.idle_threads.extend(others.iter().map(|app_thread| Arc::clone(app_thread.handle())));
    // The last to become idle is the first to be woken.
    assert!(matches!(state.push_now(), Notify::AppThread(woken) if Arc::ptr_eq(&woken, others[1].handle())));
    assert!(state.take_now());
    assert!(matches!(state.push_now(), Notify::NoThread), "a job was taken");
    assert!(state.end_tick(taken).is_none());
    assert_eq!(state.idle_threads.len(), 1);
}

#[test]
fn an_app_thread_asks_the_standby_driver_once_to_hand_over() {
    let mut state = started();
    assert!(!state.request_handover(), "no thread drives");
    let runtime = state.begin_app_turn().unwrap();
    assert!(!state.request_handover(), "an app thread drives");
    state.park(runtime);
    let runtime = state.begin_standby_turn().unwrap();
    assert!(!state.ends_standby_turn());
    assert!(state.request_handover());
    assert!(!state.request_handover(), "it has been asked");
    assert!(state.ends_standby_turn());
    state.park(runtime);
    let _runtime = state.begin_standby_turn();
    assert!(!state.ends_standby_turn(), "the next turn begins without a wish");
}

#[test]
fn the_standby_thread_keeps_driving_for_a_slow_app_until_the_reactor_stops() {
    let mut state = started();
    state.make_slow();
    let _runtime = state.begin_standby_turn();
    assert!(!state.request_handover());
    assert!(!state.ends_standby_turn());
    state.stop = StopPhase::Stopping;
    assert!(state.ends_standby_turn());
}

#[test]
fn no_idle_thread_is_woken_without_a_job() {
    let (mut state, _idle) = with_idle_thread();
    assert!(state.idle_thread_for_jobs().is_none());
    state.push_now();
    assert!(state.idle_thread_for_jobs().is_some());
    assert!(state.idle_thread_for_jobs().is_none(), "no other thread is idle");
}
