//! The reactor, and the one call by which a worker asks it for work.
//!
//! The reactor is a current-thread runtime that owns all connections: no work stealing, no locks
//! between tasks. Who drives it is nobody's business outside of this folder: workers call
//! [`Reactor::next`].
//!
//! | module | subject |
//! |---|---|
//! | [`job`] | what a worker is given to do |
//! | [`scheduler`] | who drives, and the queue between the reactor and the workers |
//! | [`app_latency`] | whether the app is quick |
//! | [`worker`] | a worker, and how it is called while it waits |

mod app_latency;
pub mod job;
mod scheduler;
pub mod worker;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use self::job::{Job, Next};
pub use self::scheduler::Scheduler;
pub use self::worker::{Worker, WorkerHandle};
use crate::base::lock::Lock;
use crate::base::{self, lifecycle::Phase};

/// A process's reactor.
#[derive(Debug)]
pub struct Reactor {
    scheduler: Arc<Scheduler>,
    base: Arc<base::Context>,
    stand_in: Lock<Option<JoinHandle<()>>>,
}

impl Reactor {
    /// A reactor that does not run yet.
    pub fn new(scheduler: Arc<Scheduler>, base: Arc<base::Context>) -> Self {
        Reactor { scheduler, base, stand_in: Lock::new(None) }
    }

    /// Starts to run; `setup` spawns the first tasks, inside the runtime.
    pub fn start(&self, setup: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let timers = Arc::clone(&self.base.timers);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .on_thread_unpark(move || timers.begin_turn())
            .build()?;
        {
            let _inside = runtime.enter();
            setup()?;
        }
        let scheduler = Arc::clone(&self.scheduler);
        let thread =
            std::thread::Builder::new().name("push_stand_in".to_owned()).spawn(move || scheduler.stand_in())?;
        *self.stand_in.lock() = Some(thread);
        self.scheduler.begin(runtime);
        Ok(())
    }

    /// The current thread as a worker.
    pub fn worker(&self) -> Worker {
        self.scheduler.worker()
    }

    /// A job, if one waits. The worker's last one is done. Never blocks.
    pub fn try_next(&self, worker: &mut Worker) -> Option<Job> {
        self.scheduler.try_next(worker)
    }

    /// Blocks until there is a job, the server has stopped, or [`WorkerHandle::interrupt`] was called. The worker's
    /// last job is done. Meanwhile the thread may drive the reactor, so it must hold nothing that others
    /// wait for.
    pub fn next(&self, worker: &mut Worker) -> Next {
        self.scheduler.next(worker)
    }

    /// Says whether there is a worker, or soon will be one. If not, requests that wait and requests that come get 503;
    /// callbacks wait. Any thread.
    pub fn set_attended(&self, attended: bool) {
        self.scheduler.set_attended(attended);
    }

    /// Stops: all connections are cut. Every worker's `next` returns [`Next::Stopped`] once the
    /// callbacks of their clients have been handed out. Blocks until nobody drives any more.
    pub fn stop(&self) {
        self.base.lifecycle.advance(Phase::Stopped);
        self.scheduler.stop();
        let thread = self.stand_in.lock().take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by then; there is nothing to add.
            let _ = thread.join();
        }
    }
}
