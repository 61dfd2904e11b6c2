//! A reactor without a server: a test can run code on the thread that drives it, and has app threads that report. Jobs are the
//! turns of clients without a connection.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use push_core::base;
use push_core::channel::{Shape, Since};
use push_core::engine::Local;
use push_core::net::Peer;
use push_core::push::{self, Callbacks, Client, EventInterest, Negotiated, Protocol, PubSub};
use push_core::reactor::{AppThreadHandle, Reactor, Scheduler};
use push_core::{AppThread, Job, Limits, Next};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{DEADLINE, within};

type Code = Box<dyn FnOnce() + Send>;

/// How the standby thread learns that no thread drives.
#[derive(Debug, Clone, Copy)]
pub enum Standby {
    /// By a timer, if the system has it.
    Timed,
    /// It looks again and again, as on other systems.
    Ticking,
}

/// The reactor, and a way to run code on its driver's thread.
pub struct Harness {
    pub reactor: Arc<Reactor>,
    pub scheduler: Arc<Scheduler>,
    pub context: Arc<push::Context>,
    code: UnboundedSender<Code>,
    /// `None` from the start on.
    code_to_run: Option<UnboundedReceiver<Code>>,
}

/// A thread that takes jobs until it is interrupted or the reactor has stopped. Its result says which.
pub struct SpawnedThread {
    pub handle: Arc<AppThreadHandle>,
    thread: JoinHandle<Next>,
}

impl Harness {
    /// A reactor that has not started.
    pub fn new(standby: Standby) -> Self {
        let limits = Limits { max_queue: 16, ..Limits::default() };
        let base = Arc::new(base::Context::new(limits));
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&base)));
        let callbacks = Arc::clone(&scheduler) as Arc<dyn Callbacks>;
        let context = push::Context::new(Arc::clone(&base), callbacks, PubSub::new(Local::shared));
        let (code, code_to_run) = unbounded_channel();
        let reactor = Reactor::new(Arc::clone(&scheduler), base);
        let reactor = Arc::new(match standby {
            Standby::Timed => reactor,
            Standby::Ticking => reactor.without_timer(),
        });
        Harness { reactor, scheduler, context: Arc::new(context), code, code_to_run: Some(code_to_run) }
    }

    pub fn started(standby: Standby) -> Self {
        let mut harness = Self::new(standby);
        harness.start();
        harness
    }

    pub fn start(&mut self) {
        let mut code_to_run = self.code_to_run.take().unwrap();
        let task = async move {
            while let Some(code) = code_to_run.recv().await {
                code();
            }
        };
        let spawn = || {
            tokio::spawn(task);
            Ok(())
        };
        self.reactor.start(spawn).unwrap();
    }

    /// Runs `code` on the driver's thread, soon.
    pub fn run_on_driver(&self, code: impl FnOnce() + Send + 'static) {
        assert!(self.code.send(Box::new(code)).is_ok(), "the reactor has stopped");
    }

    /// The name of the thread that drives.
    pub fn driver(&self) -> String {
        let (tell, told) = channel();
        self.run_on_driver(move || {
            let _ = tell.send(thread::current().name().unwrap_or_default().to_owned());
        });
        told.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no thread drives"))
    }

    /// A client to make jobs with.
    pub fn client(&self) -> Arc<Client> {
        let interest = EventInterest { message: true, drained: false, gap: false };
        let negotiated = Negotiated {
            protocol: Protocol::WebSocket,
            encoding: Shape::Raw.into(),
            deflate: None,
            since: Since::Now,
            polls: false,
        };
        Client::new(Arc::clone(&self.context), negotiated, Peer::Unix, interest)
    }

    /// Queues a job for each of these clients on the driver's thread. It looks at the queue before and after, but not
    /// in between.
    pub fn queue(&self, clients: &[&Arc<Client>]) {
        let clients: Vec<_> = clients.iter().map(|client| Arc::clone(client)).collect();
        let scheduler = Arc::clone(&self.scheduler);
        self.run_on_driver(move || clients.into_iter().for_each(|client| scheduler.ready(client)));
    }

    /// Starts an app thread as the extension does. It calls `work` with the client of each job.
    pub fn spawn_app_thread(&self, name: &str, mut work: impl FnMut(Arc<Client>) + Send + 'static) -> SpawnedThread {
        let reactor = Arc::clone(&self.reactor);
        let (tell, told) = channel();
        let body = move || {
            let mut app_thread = reactor.app_thread();
            tell.send(Arc::clone(app_thread.handle())).unwrap();
            loop {
                while let Some(job) = reactor.try_next(&mut app_thread) {
                    work(client_of(job));
                }
                match reactor.next(&mut app_thread) {
                    Next::Job(job) => work(client_of(job)),
                    end => return end,
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body).unwrap();
        SpawnedThread { handle: told.recv_timeout(DEADLINE).unwrap(), thread }
    }

    /// Starts an app thread that reports the number of each job's client.
    pub fn spawn_reporting_thread(&self, name: &str) -> (SpawnedThread, Receiver<u64>) {
        let (tell, told) = channel();
        let report = move |client: Arc<Client>| {
            // An error means that the test is over.
            let _ = tell.send(client.id());
        };
        (self.spawn_app_thread(name, report), told)
    }

    pub fn stop(&self) {
        let reactor = Arc::clone(&self.reactor);
        within("stop", move || reactor.stop());
    }

    /// What `app_thread` gets when it asks for a job.
    pub fn ask(&self, mut app_thread: AppThread) -> Next {
        let reactor = Arc::clone(&self.reactor);
        within("next", move || reactor.next(&mut app_thread))
    }
}

impl SpawnedThread {
    /// Waits for the thread: why it has ended.
    pub fn end(self) -> Next {
        within("an app thread", move || self.thread.join()).unwrap()
    }
}

fn client_of(job: Job) -> Arc<Client> {
    match job {
        Job::Callbacks(client) => client,
        Job::Request(..) => panic!("no request was sent"),
    }
}
