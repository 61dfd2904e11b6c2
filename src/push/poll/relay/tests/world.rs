//! Three processes, their app, and pages that poll them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll as Polled, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::net::Net;
use crate::base;
use crate::base::limits::Limits;
use crate::base::lock::Lock;
use crate::base::peers::Peers;
use crate::channel::engine::{Engine, EngineState, Full, Submitted};
use crate::channel::{Command, Cursor, Event as Happened, Message, Progress, Shape, Subscription, Wake};
use crate::engine::Local;
use crate::net::Peer;
use crate::push::poll::{Answer, Poll, Relaying, since};
use crate::push::{self, Callbacks, Client, Event, EventInterest, Negotiated, Protocol, PubSub, Turn};
use crate::sse;

const DEADLINE: Duration = Duration::from_secs(20);

/// Of which user a poll is that the app refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Owner,
    Nobody,
    OtherOwner,
}

/// The engine of one process among several, whose channels are its own.
struct OneOf {
    local: Local,
    process: u32,
    peers: Arc<dyn Peers>,
}

impl Engine for OneOf {
    fn position(&self) -> Cursor {
        self.local.position()
    }
    fn process(&self) -> u32 {
        self.process
    }
    fn submit(&self, message: Arc<Message>) -> Result<Submitted, Full<Arc<Message>>> {
        self.local.submit(message)
    }
    fn take(&self, events: &mut Vec<Happened>) {
        self.local.take(events);
    }
    fn command(&self, command: Command) -> Result<(), Full<Command>> {
        self.local.command(command)
    }
    fn peers(self: Arc<Self>) -> Option<Arc<dyn Peers>> {
        Some(Arc::clone(&self.peers))
    }
    fn state(&self) -> EngineState {
        EngineState::Ready
    }
    fn progress(&self) -> Option<&Arc<Progress>> {
        None
    }
}

/// Subscribes each client to a channel, so that it gets push.open.
#[derive(Default)]
struct App {
    clients: Lock<BTreeMap<u64, Arc<Client>>>,
    opened: AtomicUsize,
    closed: AtomicUsize,
    abandoned: AtomicUsize,
    living: AtomicUsize,
}

impl Callbacks for App {
    fn ready(&self, client: Arc<Client>) {
        let turn = Turn::begin(client);
        while let Some(event) = turn.next_event() {
            let client = turn.client();
            match event {
                Event::Open => {
                    self.opened.fetch_add(1, Ordering::SeqCst);
                    self.clients.lock().insert(client.id(), Arc::clone(client));
                    client.subscribe(Subscription::to("c")).unwrap();
                    client.begin_replay();
                }
                Event::Close => {
                    self.closed.fetch_add(1, Ordering::SeqCst);
                    self.clients.lock().remove(&client.id());
                    self.living.fetch_sub(1, Ordering::SeqCst);
                    client.retire();
                }
                Event::Abandoned => {
                    self.abandoned.fetch_add(1, Ordering::SeqCst);
                    self.living.fetch_sub(1, Ordering::SeqCst);
                    client.retire();
                }
                _ => {}
            }
        }
    }
}

struct Process {
    context: Arc<push::Context>,
    app: Arc<App>,
    spare: Vec<Waker>,
}

/// A client of polls.
pub(super) struct Page {
    pub(super) place: String,
    owner: Option<String>,
    id: Option<String>,
    answer: Option<Answer>,
    /// The texts of messages.
    pub(super) got: Vec<String>,
    /// Whether each push.open said that something may be lost.
    pub(super) openings: Vec<bool>,
}

impl Page {
    fn new(owner: Option<&str>, id: Option<String>) -> Self {
        let owner = owner.map(str::to_owned);
        Page { place: "here".to_owned(), owner, id, answer: None, got: Vec::new(), openings: Vec::new() }
    }

    /// Another page, which has found the id of this one.
    pub(super) fn stolen(&self, owner: Option<&str>) -> Self {
        Page::new(owner, self.id.clone())
    }

    /// Loses the connection of its poll.
    pub(super) fn lose(&mut self) {
        self.answer = None;
    }

    fn take(&mut self, body: &[u8]) {
        for block in std::str::from_utf8(body).unwrap().split("\n\n") {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let Some(id) = field("id: ") {
                self.id = Some(id.to_owned());
            }
            match (field("event: "), field("data: ")) {
                (Some("push.open"), Some(data)) => self.openings.push(data.contains("\"lost\":true")),
                (_, Some(data)) => self.got.push(data.to_owned()),
                _ => {}
            }
        }
    }
}

pub(super) struct World {
    pub(super) net: Arc<Net>,
    runtime: Runtime,
    processes: BTreeMap<u32, Process>,
    tasks: BTreeMap<u32, tokio::task::AbortHandle>,
}

impl World {
    pub(super) fn new() -> Self {
        let net = Arc::new(Net::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut processes, mut tasks) = (BTreeMap::new(), BTreeMap::new());
        for process in 1..=3 {
            let peers = net.way(process);
            let engine = |wake: Arc<dyn Wake>| Arc::new(OneOf { local: Local::new(wake), process, peers }) as Arc<_>;
            let app = Arc::new(App::default());
            let base = Arc::new(base::Context::new(Limits::default()));
            let context = Arc::new(push::Context::new(base, Arc::clone(&app) as _, PubSub::new(engine)));
            {
                let _inside = runtime.enter();
                runtime.spawn(Arc::clone(&context.base.timers).run().unwrap());
            }
            let relay = context.relay.clone().unwrap();
            let task = runtime.spawn(Relaying::new(&context, &relay));
            tasks.insert(process, task.abort_handle());
            processes.insert(process, Process { context, app, spare: Vec::new() });
        }
        World { net, runtime, processes, tasks }
    }

    /// Drives all processes until `done`.
    pub(super) fn until(&mut self, what: &str, mut done: impl FnMut(&World) -> bool) {
        self.drive(what, |world| done(world).then_some(()));
    }

    fn drive<T>(&mut self, what: &str, mut done: impl FnMut(&World) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.net.deliver();
            let (runtime, processes) = (&self.runtime, &mut self.processes);
            let mut turns = 0;
            runtime.block_on(std::future::poll_fn(|cx| {
                for Process { context, spare, .. } in processes.values_mut() {
                    context.base.timers.begin_turn();
                    context.base.wakeups.attend(cx.waker(), spare);
                }
                turns += 1;
                cx.waker().wake_by_ref();
                if turns > 3 { Polled::Ready(()) } else { Polled::Pending }
            }));
            self.processes.values().for_each(|process| process.context.base.wakeups.leave());
            if let Some(found) = done(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "gave up waiting: {what}");
        }
    }

    fn sum(&self, count: impl Fn(&App) -> &AtomicUsize) -> usize {
        self.processes.values().map(|process| count(&process.app).load(Ordering::SeqCst)).sum()
    }

    /// How many sessions have begun.
    pub(super) fn opened(&self) -> usize {
        self.sum(|app| &app.opened)
    }

    pub(super) fn closed(&self) -> usize {
        self.sum(|app| &app.closed)
    }

    pub(super) fn abandoned(&self) -> usize {
        self.sum(|app| &app.abandoned)
    }

    /// Whether no poll is underway, and there is no client without a session.
    pub(super) fn is_quiet(&self) -> bool {
        let living = self.sum(|app| &app.living);
        let sizes = self.tasks.keys().map(|number| self.processes[number].context.relay.as_ref().unwrap().sizes());
        sizes.sum::<usize>() == 0 && living == self.opened() - self.closed() && self.net.is_empty()
    }

    /// A page with a session in a process, which has read its push.open.
    pub(super) fn page(&mut self, at: u32) -> Page {
        self.begin(at, Page::new(None, None))
    }

    pub(super) fn owned_page(&mut self, at: u32, owner: &str) -> Page {
        self.begin(at, Page::new(Some(owner), None))
    }

    fn begin(&mut self, at: u32, mut page: Page) -> Page {
        self.poll(&mut page, at, 30.0);
        self.read(&mut page);
        assert_eq!(page.openings, [false]);
        page
    }

    /// Polls a process, whose app accepts.
    pub(super) fn poll(&mut self, page: &mut Page, at: u32, wait: f64) {
        let mut poll = self.poll_of(page, at, wait);
        poll.set_owner(page.owner.as_ref().map(|owner| owner.as_bytes().into()));
        let Process { context, app, .. } = &self.processes[&at];
        page.answer = Some(poll.resume().unwrap_or_else(|| {
            app.living.fetch_add(1, Ordering::SeqCst);
            let negotiated = Negotiated {
                protocol: Protocol::Sse,
                encoding: Shape::EventStream.into(),
                deflate: None,
                since: since(page.id.as_deref()),
                polls: true,
            };
            let interest = EventInterest { message: false, drained: false, gap: false };
            let client = Client::new(Arc::clone(context), negotiated, Peer::Unix, interest);
            let (start, answer) = poll.begin(client);
            let _inside = self.runtime.enter();
            start.spawn();
            answer
        }));
    }

    fn poll_of(&self, page: &Page, at: u32, wait: f64) -> Poll {
        let context = &self.processes[&at].context;
        Poll::new(context, Duration::from_secs_f64(wait), page.id.as_deref(), page.place.clone())
    }

    /// Reads the answer to the page's poll.
    pub(super) fn read(&mut self, page: &mut Page) {
        let mut answer = page.answer.take().expect("it has not polled");
        let body = self.drive("an answer", |_| match answer.try_recv() {
            Ok(body) => Some(body),
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => None,
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => Some(sse::retry(1)),
        });
        page.take(&body);
    }

    /// Polls a process until `done`.
    pub(super) fn read_until(&mut self, page: &mut Page, at: u32, done: impl Fn(&Page) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(page) {
            assert!(Instant::now() < deadline, "gave up polling");
            if page.answer.is_none() {
                self.poll(page, at, 30.0);
            }
            self.read(page);
        }
    }

    /// The app of a process refuses a poll with the page's id.
    pub(super) fn refuse(&mut self, page: &Page, at: u32, refusal: Refusal) {
        let mut poll = self.poll_of(page, at, 0.0);
        poll.set_owner(match refusal {
            Refusal::Nobody => None,
            Refusal::Owner => page.owner.as_ref().map(|owner| owner.as_bytes().into()),
            Refusal::OtherOwner => Some(Box::from(*b"somebody else")),
        });
        poll.refuse();
    }

    /// The app writes to all clients of a process.
    pub(super) fn write(&mut self, at: u32, text: &str) {
        for client in self.processes[&at].app.clients.lock().values() {
            client.write_event(sse::Fields { event: None, id: None, retry: None }, text.as_bytes());
        }
    }

    /// A process has ended.
    pub(super) fn stop(&mut self, process: u32) {
        self.tasks.remove(&process).unwrap().abort();
    }

    /// The server of a process restarts.
    pub(super) fn leave(&mut self, process: u32) {
        let lifecycle = &self.processes[&process].context.base.lifecycle;
        lifecycle.drain(Instant::now() + DEADLINE, true);
    }
}
