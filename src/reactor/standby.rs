//! The standby thread: drives the reactor while no app thread does.
//!
//! It waits for a timer, which fires when no thread has driven for a [`TICK`] ([`super::watchdog`]).
//!
//! Without such a timer, it looks every tick whether an app thread drives. After [`QUIET_TICKS`] without a change it
//! sleeps until an app thread parks the runtime: an idle server has no timer that fires 2000 times a second.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::Context;
use std::time::Instant;

use super::scheduler::Scheduler;
use super::state::{Driver, LocalRuntime, SchedulerState, StopPhase};
use super::watchdog::TICK;
use crate::base::timerfd::Timerfd;
use crate::base::timers::{Sleep, Timers};

/// Ticks during which the same app thread drives, until the standby thread sleeps.
const QUIET_TICKS: u32 = 2;

impl Scheduler {
    /// Runs until the reactor stops; on a thread of its own.
    pub(super) fn run_standby(&self) {
        if let Some(timer) = self.timer.get()
            && let Err(error) = self.run_by_timer(timer)
        {
            log::warn!("the standby thread cannot wait for its timer, and looks again and again: {error}");
        }
        // Returns at once if the reactor has stopped.
        self.run_by_ticks();
    }

    fn run_by_timer(&self, timer: &Timerfd) -> io::Result<()> {
        let mut state = self.lock();
        while state.stop == StopPhase::Running {
            match state.look(Instant::now()) {
                Ok(runtime) => {
                    self.set_timer(state.watchdog.drive());
                    if let Some(app_thread) = state.idle_thread_for_stuck_jobs() {
                        app_thread.wake();
                    }
                    state = self.drive_as_standby(state, runtime);
                }
                Err(change) => {
                    self.set_timer(change);
                    drop(state);
                    timer.wait()?;
                    state = self.lock();
                    state.watchdog.fire(Instant::now());
                }
            }
        }
        Ok(())
    }

    fn run_by_ticks(&self) {
        let mut state = self.lock();
        // Whether no thread drove at the end of the last tick, without an app thread's turn in it; and in how many ticks in a
        // row the same app thread drove.
        let (mut undriven, mut quiet) = (false, 0);
        while state.stop == StopPhase::Running {
            if (undriven || state.app_latency.is_slow())
                && let Some(runtime) = state.begin_standby_turn()
            {
                state = self.drive_as_standby(state, runtime);
                (undriven, quiet) = (false, 0);
            } else if state.is_driven() && quiet >= QUIET_TICKS {
                state.standby_sleeps = true;
                state = self.parked.wait(state);
                state.standby_sleeps = false;
                quiet = 0;
            } else {
                let (app_turns, taken) = (state.app_turns, state.queue.taken());
                let (changed, timed_out) = self.parked.wait_timeout(state, TICK);
                state = changed;
                let same = timed_out && state.app_turns == app_turns;
                undriven = same && !state.is_driven();
                quiet = if same && matches!(state.driver, Driver::AppThread { .. }) { quiet + 1 } else { 0 };
                if timed_out
                    && state.queue.taken() == taken
                    && let Some(app_thread) = state.idle_thread_for_jobs()
                {
                    app_thread.wake();
                }
            }
        }
    }

    /// Drives until an app thread wants to, or the reactor stops.
    fn drive_as_standby<'a>(
        &'a self,
        state: MutexGuard<'a, SchedulerState>,
        mut runtime: Box<LocalRuntime>,
    ) -> MutexGuard<'a, SchedulerState> {
        drop(state);
        self.base.stats.standby_turns.add();
        let mut tick = QueueTick::default();
        self.drive(&mut runtime, |cx, state| {
            let ends = state.ends_standby_turn();
            if !ends {
                tick.poll(cx, state, &self.base.timers);
            }
            ends
        });
        let mut state = self.park(runtime, Instant::now());
        if let Some(app_thread) = state.idle_threads.pop() {
            app_thread.wake();
        }
        state
    }
}

/// Looks every [`TICK`] whether jobs are taken, while there are any and an idle thread could take them.
#[derive(Default)]
struct QueueTick {
    sleep: Option<Sleep>,
    /// See [`super::queue::JobQueue::taken`]: at the start of the tick.
    taken: u64,
}

impl QueueTick {
    fn poll(&mut self, cx: &mut Context<'_>, state: &mut SchedulerState, timers: &Arc<Timers>) {
        if let Some(sleep) = &mut self.sleep {
            if Pin::new(sleep).poll(cx).is_pending() {
                return;
            }
            self.sleep = None;
            if let Some(app_thread) = state.end_tick(self.taken) {
                app_thread.wake();
            }
        }
        if state.look_at_queue() {
            self.taken = state.queue.taken();
            let mut sleep = timers.sleep(TICK);
            // Pending, as the time has not passed. This registers the task.
            let _ = Pin::new(&mut sleep).poll(cx);
            self.sleep = Some(sleep);
        }
    }
}
