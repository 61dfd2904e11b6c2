//! The reactor, and the one call by which an app thread asks for work.
//!
//! The reactor is a current-thread runtime that owns all connections: no work stealing, no locks between tasks. Which
//! thread drives it is decided in this folder. Others do not have to know: app threads call [`Reactor::next`].
//!
//! | module | subject |
//! |---|---|
//! | [`job`] | what an app thread is given to do |
//! | [`scheduler`] | the calls of app threads and of the reactor: which thread drives, and which app thread gets a job |
//! | `state` | what the scheduler decides from: the driver, the idle threads, the transitions |
//! | `queue` | the jobs that wait |
//! | `standby` | the thread that drives while no app thread does |
//! | `watchdog` | when the standby thread must look; `timer`: what it waits for |
//! | `app_latency` | whether the app is fast |
//! | [`app_thread`] | an app thread, and how it is woken while it waits |

mod app_latency;
pub mod app_thread;
pub mod job;
mod queue;
pub mod scheduler;
mod standby;
mod state;
mod watchdog;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use self::app_thread::{AppThread, AppThreadHandle};
pub use self::job::{Job, Next};
pub use self::scheduler::Scheduler;
use crate::base::lock::Lock;
use crate::base::{self, lifecycle::Phase, timers};

/// A process's reactor.
#[derive(Debug)]
pub struct Reactor {
    scheduler: Arc<Scheduler>,
    base: Arc<base::Context>,
    standby: Lock<Option<JoinHandle<()>>>,
    with_timer: bool,
}

impl Reactor {
    /// A reactor that does not run yet.
    pub fn new(scheduler: Arc<Scheduler>, base: Arc<base::Context>) -> Self {
        Reactor { scheduler, base, standby: Lock::new(None), with_timer: true }
    }

    /// The same reactor, whose standby thread looks in ticks, as on systems that have no timerfd. For tests.
    pub fn without_timer(mut self) -> Self {
        self.with_timer = false;
        self
    }

    /// Starts to run. `setup` spawns the first tasks, inside the runtime.
    ///
    /// # Errors
    ///
    /// The system has no epoll instance, descriptor or thread left, or `setup` has failed.
    pub fn start(&self, setup: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let timers = Arc::clone(&self.base.timers);
        let runtime = timers::enable(&mut tokio::runtime::Builder::new_current_thread())
            .on_thread_unpark(move || timers.begin_turn())
            .build()?;
        {
            let _inside = runtime.enter();
            tokio::spawn(Arc::clone(&self.base.timers).run()?);
            setup()?;
        }
        let scheduler = Arc::clone(&self.scheduler);
        if self.with_timer {
            scheduler.make_timer();
        }
        let thread =
            std::thread::Builder::new().name("push_standby".to_owned()).spawn(move || scheduler.run_standby())?;
        *self.standby.lock() = Some(thread);
        self.scheduler.start(runtime);
        Ok(())
    }

    /// The current thread as an app thread.
    pub fn app_thread(&self) -> AppThread {
        self.scheduler.app_thread()
    }

    /// A job, if one waits. By this call, the app thread's last job is done. Never blocks.
    pub fn try_next(&self, app_thread: &mut AppThread) -> Option<Job> {
        self.scheduler.try_next(app_thread)
    }

    /// Blocks until there is a job, the server has stopped, or [`AppThreadHandle::interrupt`] was called. By this call,
    /// the app thread's last job is done. Meanwhile the thread may drive the reactor, so it must hold nothing that others
    /// wait for: no lock, and no GVL.
    pub fn next(&self, app_thread: &mut AppThread) -> Next {
        self.scheduler.next(app_thread)
    }

    /// Says whether there is an app thread, or soon will be one. If not, requests that wait and requests that come get 503,
    /// and callbacks wait. Any thread.
    pub fn set_attended(&self, attended: bool) {
        self.scheduler.set_attended(attended);
    }

    /// Stops: all connections are cut. Every app thread's `next` returns [`Next::Stopped`] once the
    /// callbacks of their clients were given to app threads. Blocks until no thread drives any more.
    pub fn stop(&self) {
        self.base.lifecycle.advance(Phase::Stopped);
        self.scheduler.stop();
        let thread = self.standby.lock().take();
        if let Some(thread) = thread {
            // An error means that the thread has panicked, which has been reported by then.
            let _ = thread.join();
        }
    }
}
