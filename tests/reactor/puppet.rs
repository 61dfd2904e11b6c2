//! A reactor in which a test can run code on the driver's thread. Jobs are the turns of clients without a connection.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use push_core::base;
use push_core::channel::{Form, Since};
use push_core::net::Peer;
use push_core::push::{self, Callbacks, Client, Interest, Negotiated, Protocol};
use push_core::reactor::{Reactor, Scheduler, WorkerHandle};
use push_core::{Job, Limits, Next, Worker};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{PATIENCE, within};

type Order = Box<dyn FnOnce() + Send>;

/// The reactor, and the way into it.
pub struct Puppet {
    pub reactor: Arc<Reactor>,
    pub scheduler: Arc<Scheduler>,
    pub context: Arc<push::Context>,
    orders: UnboundedSender<Order>,
    obedient: Option<UnboundedReceiver<Order>>,
}

/// A thread that works until the end or until it is interrupted; its result says which.
pub struct Hand {
    pub handle: Arc<WorkerHandle>,
    thread: JoinHandle<Next>,
}

impl Puppet {
    /// One that does not run.
    pub fn new() -> Self {
        let limits = Limits { max_queue: 16, ..Limits::default() };
        let base = Arc::new(base::Context::new(limits));
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&base)));
        let callbacks = Arc::clone(&scheduler) as Arc<dyn Callbacks>;
        let context = push::Context::new(Arc::clone(&base), callbacks);
        let (orders, obedient) = unbounded_channel();
        let reactor = Arc::new(Reactor::new(Arc::clone(&scheduler), base));
        Puppet { reactor, scheduler, context: Arc::new(context), orders, obedient: Some(obedient) }
    }

    pub fn started() -> Self {
        let mut puppet = Self::new();
        puppet.start();
        puppet
    }

    pub fn start(&mut self) {
        let mut obedient = self.obedient.take().unwrap();
        let obey = async move {
            while let Some(order) = obedient.recv().await {
                order();
            }
        };
        let spawn = || {
            tokio::spawn(obey);
            Ok(())
        };
        self.reactor.start(spawn).unwrap();
    }

    /// Runs `order` on the driver's thread, soon.
    pub fn inside(&self, order: impl FnOnce() + Send + 'static) {
        assert!(self.orders.send(Box::new(order)).is_ok(), "the reactor is gone");
    }

    /// The name of the thread that drives.
    pub fn driver(&self) -> String {
        let (tell, told) = channel();
        self.inside(move || {
            let _ = tell.send(thread::current().name().unwrap_or_default().to_owned());
        });
        told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nobody drives"))
    }

    /// A client to make jobs with.
    pub fn client(&self) -> Arc<Client> {
        let interest = Interest { message: true, drained: false, gap: false };
        let negotiated = Negotiated { protocol: Protocol::WebSocket, form: Form::Raw, since: Since::Now, polls: false };
        Client::new(Arc::clone(&self.context), negotiated, Peer::Unix, interest)
    }

    /// Queues a job for each of these on the driver's thread, between two looks at the queue.
    pub fn queue(&self, clients: &[&Arc<Client>]) {
        let clients: Vec<_> = clients.iter().map(|client| Arc::clone(client)).collect();
        let scheduler = Arc::clone(&self.scheduler);
        self.inside(move || clients.into_iter().for_each(|client| scheduler.ready(client)));
    }

    /// A thread that works, as the extension's do.
    pub fn hand(&self, name: &str, mut work: impl FnMut(Arc<Client>) + Send + 'static) -> Hand {
        let reactor = Arc::clone(&self.reactor);
        let (tell, told) = channel();
        let body = move || {
            let mut worker = reactor.worker();
            tell.send(Arc::clone(worker.handle())).unwrap();
            loop {
                while let Some(job) = reactor.try_next(&mut worker) {
                    work(client_of(job));
                }
                match reactor.next(&mut worker) {
                    Next::Job(job) => work(client_of(job)),
                    end => return end,
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body).unwrap();
        Hand { handle: told.recv_timeout(PATIENCE).unwrap(), thread }
    }

    /// A hand that reports its jobs.
    pub fn reporting_hand(&self, name: &str) -> (Hand, Receiver<u64>) {
        let (tell, told) = channel();
        let report = move |client: Arc<Client>| {
            // Nobody listens any more: the test is over.
            let _ = tell.send(client.id());
        };
        (self.hand(name, report), told)
    }

    pub fn stop(&self) {
        let reactor = Arc::clone(&self.reactor);
        within("stop", move || reactor.stop());
    }

    /// What a worker that comes now is told.
    pub fn ask(&self, mut worker: Worker) -> Next {
        let reactor = Arc::clone(&self.reactor);
        within("next", move || reactor.next(&mut worker))
    }
}

impl Hand {
    /// How its work ended.
    pub fn end(self) -> Next {
        within("a worker", move || self.thread.join()).unwrap()
    }
}

fn client_of(job: Job) -> Arc<Client> {
    match job {
        Job::Callbacks(client) => client,
        Job::Request(..) => panic!("nobody sent a request"),
    }
}
