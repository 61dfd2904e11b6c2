//! The reactor, and the one call by which a worker asks it for work.
//!
//! The reactor is a current-thread runtime that owns all connections: no work stealing, no locks
//! between tasks. It is driven by a thread of its own. Nothing outside this file knows that:
//! workers call [`Reactor::next`], and who drives can change here.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, select_biased, unbounded};

use crate::http::{Dispatch, Request};
use crate::push::{Callbacks, Client};
use crate::shutdown::{Phase, Switch};
use crate::tally::{Mark, Tally};

/// Something for a worker to do.
#[derive(Debug)]
pub enum Job {
    /// Call the app. The mark keeps a drain waiting until it is dropped.
    Request(Box<Request>, Mark),
    /// Run a client's events: begin a [`crate::push::Turn`].
    Callbacks(Arc<Client>),
}

/// What a worker's call for work came to.
#[derive(Debug)]
pub enum Next {
    /// A job.
    Job(Job),
    /// Something arrived on the interrupt channel.
    Interrupted,
    /// The server has stopped: there will be no more.
    Stopped,
}

/// The queue between reactor and workers.
///
/// Requests are bounded; mailboxes need no bound, as each client is queued at most once.
#[derive(Debug)]
pub struct Jobs {
    sender: Sender<Job>,
    receiver: Receiver<Job>,
    requests: AtomicUsize,
    max_requests: usize,
    tally: Arc<Tally>,
}

impl Jobs {
    /// A queue for `max_requests` requests; each counts in `tally` until it is answered.
    pub fn new(max_requests: usize, tally: Arc<Tally>) -> Self {
        let (sender, receiver) = unbounded();
        Jobs { sender, receiver, requests: AtomicUsize::new(0), max_requests, tally }
    }

    fn taken(&self, job: Job) -> Job {
        if matches!(job, Job::Request(..)) {
            self.requests.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }
}

impl Dispatch for Jobs {
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        // Only the reactor adds requests, so the count cannot grow between the two lines.
        if self.requests.load(Ordering::Relaxed) >= self.max_requests {
            return Err(request);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        // Cannot fail: the receiver lives in the same struct.
        let _ = self.sender.send(Job::Request(request, self.tally.mark()));
        Ok(())
    }
}

impl Callbacks for Jobs {
    fn ready(&self, client: Arc<Client>) {
        let _ = self.sender.send(Job::Callbacks(client));
    }
}

/// A process's reactor.
#[derive(Debug)]
pub struct Reactor {
    jobs: Arc<Jobs>,
    phase: Arc<Switch>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Closed when the server stops, so that every waiting worker hears it.
    running: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl Reactor {
    /// A reactor that does not run yet.
    pub fn new(jobs: Arc<Jobs>, phase: Arc<Switch>) -> Self {
        let (running, stopped) = crossbeam_channel::bounded(0);
        Reactor { jobs, phase, thread: Mutex::new(None), running: Mutex::new(Some(running)), stopped }
    }

    /// Starts to run; `setup` spawns the first tasks, inside the runtime.
    pub fn start(&self, setup: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let mut signal = self.phase.signal();
        {
            let _inside = runtime.enter();
            setup()?;
        }
        let thread = std::thread::Builder::new().name("push_reactor".to_owned()).spawn(move || {
            runtime.block_on(signal.reached(Phase::Stopped));
            // A file being read must not hold up the end.
            runtime.shutdown_background();
        })?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// A job, if one waits. Never blocks.
    pub fn try_next(&self) -> Option<Job> {
        loop {
            let job = self.jobs.taken(self.jobs.receiver.try_recv().ok()?);
            // After the end nobody can be answered any more; but clients that were cut still get
            // their last callbacks.
            let too_late = matches!(job, Job::Request(..)) && self.phase.phase() == Phase::Stopped;
            if !too_late {
                return Some(job);
            }
        }
    }

    /// Blocks until there is a job, the server has stopped, or something arrives on `interrupt`.
    pub fn next(&self, interrupt: &Receiver<()>) -> Next {
        select_biased! {
            recv(self.stopped) -> _ => self.try_next().map_or(Next::Stopped, Next::Job),
            recv(interrupt) -> _ => Next::Interrupted,
            recv(self.jobs.receiver) -> job => match job {
                Ok(job) => Next::Job(self.jobs.taken(job)),
                Err(_) => Next::Stopped,
            },
        }
    }

    /// Stops: all connections are cut. Every worker's `next` returns [`Next::Stopped`] once the
    /// callbacks of their clients have been handed out. Blocks until the reactor's thread has ended.
    pub fn stop(&self) {
        self.phase.advance(Phase::Stopped);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by then; there is nothing to add.
            let _ = thread.join();
        }
        // Only now: what the streams posted as they ended is in the queue.
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
