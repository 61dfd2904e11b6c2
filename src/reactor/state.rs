//! The scheduler's state: which thread drives, which jobs wait, which app threads are idle.
//!
//! Nothing here blocks, wakes a thread or runs the runtime: [`super::scheduler`] and [`super::standby`] do, as these
//! methods say.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use tokio::runtime::Runtime;

use super::app_latency::AppLatency;
use super::app_thread::{AppThread, AppThreadHandle};
use super::job::Job;
use super::queue::{JobQueue, QueuedJob};
use super::watchdog::{TimerChange, Watchdog};
use crate::base::stats::Stats;

/// Which thread drives the runtime.
///
/// | from | to | when |
/// |---|---|---|
/// | `NoRuntime` | `Parked` | the reactor starts |
/// | `Parked` | `AppThread` | an app thread finds no job, and the app is fast |
/// | `Parked` | `Standby` | no thread has driven for a tick ([`super::watchdog`]), or the app is slow |
/// | `AppThread` | `Parked` | there is a job, the app thread is interrupted, or the reactor stops |
/// | `Standby` | `Parked` | an app thread wants to drive (`handover_wanted`), or the reactor stops |
/// | `Parked` | `NoRuntime` | the reactor stops |
///
/// `notified` is false at the start of a turn, unless jobs wait by then. The first job that arrives sets it and wakes
/// the driver, so a driver is woken once for many jobs. An app thread resets it when it looks at the queue. The standby
/// driver resets it when it looks, unless it will look again by itself.
///
/// `stalled` is set when a tick has passed in which jobs waited and none was taken: then the app threads that are not idle
/// are busy with long jobs, and each further job wakes an idle thread. It is reset when a job is taken.
#[derive(Debug)]
pub(super) enum Driver {
    /// The reactor has not started yet, or has stopped.
    NoRuntime,
    /// No thread drives, so the runtime lies here.
    Parked(Box<LocalRuntime>),
    /// An app thread that had nothing else to do.
    AppThread {
        /// It has been woken for the jobs in the queue.
        notified: bool,
    },
    /// The standby thread.
    Standby {
        /// It has been woken for the jobs in the queue, or has seen them.
        notified: bool,
        /// An app thread has nothing to do and wants to drive.
        handover_wanted: bool,
        /// Jobs waited for a tick and none was taken.
        stalled: bool,
    },
}

/// The runtime, and what its driver needs.
#[derive(Debug)]
pub(super) struct LocalRuntime {
    pub(super) runtime: Runtime,
    /// For [`crate::base::wakeups::Wakeups::attend`].
    pub(super) spare: Vec<Waker>,
}

/// How far the reactor's stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StopPhase {
    /// It has not begun.
    Running,
    /// The driver must park the runtime. App threads drive no more.
    Stopping,
    /// The runtime is gone, and all connections with it. App threads still get the callbacks that are left.
    Stopped,
}

/// Which thread a new job must wake.
#[derive(Debug)]
pub(super) enum Notify {
    /// None: the next app thread that looks at the queue finds the job.
    NoThread,
    /// The driver, which may be asleep.
    Driver,
    /// This app thread, which is not among the idle ones any more.
    AppThread(Arc<AppThreadHandle>),
}

/// What the scheduler's lock protects.
#[derive(Debug)]
pub(super) struct SchedulerState {
    pub(super) driver: Driver,
    pub(super) queue: JobQueue,
    /// App threads that wait to be woken. The last one is woken first, since its caches are warm.
    pub(super) idle_threads: Vec<Arc<AppThreadHandle>>,
    pub(super) app_latency: AppLatency,
    /// There is no app thread, and none will come soon: requests are refused.
    pub(super) unattended: bool,
    /// The timer that the standby thread waits for.
    pub(super) watchdog: Watchdog,
    /// Without a timer: the standby thread waits without a timeout, so it must be notified when an app thread parks the
    /// runtime.
    pub(super) standby_sleeps: bool,
    /// How often an app thread has parked the runtime.
    pub(super) app_turns: u64,
    pub(super) stop: StopPhase,
}

impl SchedulerState {
    pub(super) fn new() -> Self {
        SchedulerState {
            driver: Driver::NoRuntime,
            queue: JobQueue::default(),
            idle_threads: Vec::new(),
            app_latency: AppLatency::default(),
            unattended: false,
            watchdog: Watchdog::default(),
            standby_sleeps: false,
            app_turns: 0,
            stop: StopPhase::Running,
        }
    }

    // ---- driving ---------------------------------------------------------------------------

    /// Whether a thread drives.
    pub(super) fn is_driven(&self) -> bool {
        matches!(self.driver, Driver::AppThread { .. } | Driver::Standby { .. })
    }

    /// An app thread without a job drives from now on: the runtime, if it may do that.
    pub(super) fn begin_app_turn(&mut self) -> Option<Box<LocalRuntime>> {
        if self.stop != StopPhase::Running || self.app_latency.is_slow() {
            return None;
        }
        self.begin_turn(Driver::AppThread { notified: !self.queue.is_empty() })
    }

    /// The standby thread drives from now on: the runtime, if no other thread does.
    pub(super) fn begin_standby_turn(&mut self) -> Option<Box<LocalRuntime>> {
        let notified = !self.queue.is_empty();
        self.begin_turn(Driver::Standby { notified, handover_wanted: false, stalled: false })
    }

    fn begin_turn(&mut self, driver: Driver) -> Option<Box<LocalRuntime>> {
        match std::mem::replace(&mut self.driver, driver) {
            Driver::Parked(runtime) => Some(runtime),
            other => {
                self.driver = other;
                None
            }
        }
    }

    /// No thread drives from now on.
    pub(super) fn park(&mut self, runtime: Box<LocalRuntime>) {
        self.driver = Driver::Parked(runtime);
    }

    /// The runtime has just been parked: what must be done with the timer.
    pub(super) fn watch(&mut self, now: Instant) -> TimerChange {
        if self.stop != StopPhase::Running {
            // The timer wakes the standby thread for the stop.
            return TimerChange::Keep;
        }
        self.watchdog.park(now, self.queue.taken(), self.app_latency.is_slow())
    }

    /// The standby thread looks, because the timer has fired or its own turn is over: the runtime, if it must drive from
    /// now on. Otherwise it waits for the timer, after this change.
    pub(super) fn look(&mut self, now: Instant) -> Result<Box<LocalRuntime>, TimerChange> {
        if !matches!(self.driver, Driver::Parked(_)) {
            return Err(TimerChange::Keep);
        }
        let due = self.app_latency.is_slow() || self.watchdog.is_late(now);
        match if due { self.begin_standby_turn() } else { None } {
            Some(runtime) => Ok(runtime),
            None => Err(self.watchdog.wait(now)),
        }
    }

    /// Whether an app thread that drives must park the runtime; `interrupted`: its own thread is wanted.
    pub(super) fn ends_app_turn(&mut self, interrupted: bool) -> bool {
        // Reset even if the queue is empty: another app thread may have taken the job that the driver was woken for.
        if let Driver::AppThread { notified } = &mut self.driver {
            *notified = false;
        }
        self.stop != StopPhase::Running || !self.queue.is_empty() || interrupted
    }

    /// Whether the standby driver must park the runtime.
    pub(super) fn ends_standby_turn(&self) -> bool {
        self.stop != StopPhase::Running || matches!(self.driver, Driver::Standby { handover_wanted: true, .. })
    }

    /// The standby driver has looked at the queue: whether jobs wait although a thread is idle, so that it must look again after a
    /// tick. A thread that is busy looks at the queue itself before it becomes idle.
    pub(super) fn look_at_queue(&mut self) -> bool {
        let waits = !self.queue.is_empty() && !self.idle_threads.is_empty();
        if let Driver::Standby { notified, .. } = &mut self.driver {
            *notified = waits;
        }
        waits
    }

    /// The standby driver has let a tick pass while jobs waited; `taken` of all jobs were taken at its start. An idle
    /// app thread that must be woken, if none was taken since.
    pub(super) fn end_tick(&mut self, taken: u64) -> Option<Arc<AppThreadHandle>> {
        let none_taken = self.queue.taken() == taken;
        if let Driver::Standby { stalled, .. } = &mut self.driver {
            *stalled = none_taken;
        }
        if none_taken { self.idle_thread_for_jobs() } else { None }
    }

    /// An app thread has nothing to do. True if it wants to drive in the standby thread's place, which must be woken for
    /// that.
    pub(super) fn request_handover(&mut self) -> bool {
        let fast = !self.app_latency.is_slow();
        match &mut self.driver {
            Driver::Standby { handover_wanted, .. } if fast => !std::mem::replace(handover_wanted, true),
            _ => false,
        }
    }

    // ---- jobs ------------------------------------------------------------------------------

    /// Queues a job.
    pub(super) fn push(&mut self, job: Job, now: Instant) -> Notify {
        self.queue.push(job, now);
        let slow = self.app_latency.is_slow();
        let notified = match &mut self.driver {
            // The app thread that parked the runtime looks at the queue before it waits. Otherwise the standby thread
            // looks.
            Driver::NoRuntime | Driver::Parked(_) => return Notify::NoThread,
            Driver::Standby { notified, stalled, .. } => {
                if (slow || *stalled)
                    && let Some(app_thread) = self.idle_threads.pop()
                {
                    return Notify::AppThread(app_thread);
                }
                notified
            }
            Driver::AppThread { notified } => notified,
        };
        if std::mem::replace(notified, true) { Notify::NoThread } else { Notify::Driver }
    }

    /// Takes the oldest job for an app thread.
    pub(super) fn take(&mut self, app_thread: &mut AppThread, now: Instant, stats: &Stats) -> Option<Job> {
        let QueuedJob { job, since } = self.queue.pop()?;
        if let Driver::Standby { stalled, .. } = &mut self.driver {
            *stalled = false;
        }
        app_thread.busy_since = Some(now);
        app_thread.batch += 1;
        let waited = now.saturating_duration_since(since).as_micros() as u64;
        stats.jobs.add();
        stats.queue_microseconds.add_many(waited);
        stats.longest_queue_microseconds.at_least(waited);
        // The scheduler's lock is held, so no other thread adds.
        stats.queue_time.observe(waited);
        Some(job)
    }

    /// The app thread's last job is done.
    pub(super) fn finish(&mut self, app_thread: &mut AppThread, now: Instant) {
        if let Some(since) = app_thread.busy_since.take() {
            self.app_latency.record(now.saturating_duration_since(since));
        }
    }

    /// An idle thread that must be woken because jobs wait, and none was taken since the runtime was parked but for that
    /// of the thread that has parked it.
    pub(super) fn idle_thread_for_stuck_jobs(&mut self) -> Option<Arc<AppThreadHandle>> {
        if self.watchdog.is_stuck(self.queue.taken()) { self.idle_thread_for_jobs() } else { None }
    }

    /// An idle thread that must be woken because jobs wait.
    pub(super) fn idle_thread_for_jobs(&mut self) -> Option<Arc<AppThreadHandle>> {
        if self.queue.is_empty() { None } else { self.idle_threads.pop() }
    }
}
