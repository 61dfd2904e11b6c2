//! The engine of a worker: it sends what was submitted to the hub, and gives the channels what the hub sends.
//!
//! Four locks. `shared` is what all threads use; it is held for an insertion or a swap, never while anything is read,
//! written or encoded. `io` has the connection and the protocol's state; only the thread that drives takes it. The
//! third is that of [`Progress`], and `relay` has one. They are taken in the order io, log, shared, relay.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Instant, SystemTime};

use rustix::process::{Signal, getpid, kill_process};

use super::super::author::new_author;
use super::connection::{Connection, Turn};
use super::driver::{Driven, Driver};
use super::machine::{Machine, Results};
use super::relay::Relay;
use super::shared::Shared;
use crate::base::lock::Lock;
use crate::base::peers::Peers;
use crate::base::wakeups::Wakeups;
use crate::channel::engine::{Engine, EngineState, EngineTask, Full, LogEnd, Submitted};
use crate::channel::{Cancel, Channels, Command, Cursor, Event, Limits, Message, Policy, Progress, Ticket, Wake};

/// The least memory that a worker's log has, if `channel_memory` is not less.
const LEAST_LOG: usize = 8 << 20;

/// What a worker is among the processes of the hub.
#[derive(Debug, Clone, Copy)]
pub struct WorkerSettings {
    /// See [`Engine::process`].
    pub process: u32,
    /// The generation of the app's code. The hub uses the channels' rules of the newest generation.
    pub generation: u32,
    /// How many workers share the memory for messages.
    pub workers: usize,
    /// Called when the hub and this process do not understand each other: an error in one of them. This process gets no
    /// more messages, and should be replaced. Must not block.
    pub give_up: fn(),
}

/// Sends TERM to this process. A worker drains then, and is replaced.
pub fn replace_worker() {
    // There is no error: a process may send signals to itself.
    let _ = kill_process(getpid(), Signal::TERM);
}

/// The engine of a worker. It keeps what was submitted while it has no connection to the hub.
///
/// Its task on the reactor drives the connection: see [`Engine::task`]. Before the server starts, and after it has
/// stopped, a thread of its own does.
pub struct HubClient {
    settings: WorkerSettings,
    wake: Arc<dyn Wake>,
    progress: Arc<Progress>,
    /// For what they keep, if a new hub asks.
    channels: OnceLock<Weak<Channels>>,
    shared: Lock<Shared>,
    io: Lock<Io>,
    pub(super) relay: Relay,
    driver: Driver,
}

/// What belongs to the thread that drives.
struct Io {
    machine: Machine,
    connection: Option<Connection>,
    results: Results,
    /// The other half of [`Shared::submitted`], so that neither is allocated each time.
    submitted: Vec<(Arc<Message>, Arc<Ticket>)>,
    /// The hub was there and has gone, and this was logged.
    missed: bool,
}

impl HubClient {
    /// An engine without a connection, and the thread that drives it. `wake` is woken when there is something to take. The
    /// error is that of the system, which has no thread or descriptor to give.
    pub fn new(settings: WorkerSettings, wake: Arc<dyn Wake>) -> io::Result<Arc<Self>> {
        let limits = Limits::default();
        let (driver, thread) = Driver::new()?;
        let io = Io {
            machine: Machine::new(new_author(), settings.generation, limits.log_bytes),
            connection: None,
            results: Results::default(),
            submitted: Vec::new(),
            missed: false,
        };
        let client = Arc::new(HubClient {
            settings,
            wake,
            progress: Arc::default(),
            channels: OnceLock::new(),
            shared: Lock::new(Shared::new(limits)),
            io: Lock::new(io),
            relay: Relay::default(),
            driver,
        });
        thread.start(&client)?;
        Ok(client)
    }

    /// The channels of this engine. What they keep is reported to a new hub.
    pub fn set_channels(&self, channels: &Arc<Channels>) {
        let _ = self.channels.set(Arc::downgrade(channels));
    }

    /// Goes on over this connection, a Unix stream socket, once all that the hub has sent over the present one is read. Any
    /// thread; does not wait.
    pub fn connect(&self, socket: OwnedFd) {
        self.shared.lock().next = Some(UnixStream::from(socket));
        self.driver.wake();
    }

    /// The app is loaded, with its rules. From now on the channels get events.
    pub fn loaded(&self) {
        self.shared.lock().loaded = true;
        self.driver.wake();
    }

    /// Waits until the hub's log has come for the first time. Returns false if `deadline` comes first, or if the wait is
    /// cancelled by [`Progress::cancel`]. The caller must hold no lock, nor the GVL.
    pub fn await_log(&self, deadline: Instant, cancel: &Cancel) -> bool {
        self.progress.wait_for_room(deadline, cancel, || self.shared.lock().begun.then_some(())).is_some()
    }

    /// Ends the thread that drives, once it has nothing to do. For tests.
    pub fn end(&self) {
        self.driver.end();
    }

    // ---- the thread that drives ------------------------------------------------------------

    fn work(&self, readable: bool) -> Turn {
        let now = (Instant::now(), SystemTime::now());
        let mut io = self.io.lock();
        let io = &mut *io;
        let mut turn = Turn::default();
        self.take_submitted(io);
        if let Some(connection) = &mut io.connection {
            turn.paused = self.shared.lock().is_paused();
            if readable
                && !turn.paused
                && let Err(error) = connection.read(&mut io.machine, now, &mut turn)
            {
                log::error!("the connection to the hub is given up: {error}. This process is to be replaced");
                connection.shut_down();
                turn.ended = true;
                (self.settings.give_up)();
            }
            // Before the report, which is about all events.
            self.publish_results(io);
            if io.machine.wants_report() {
                let channels = self.channels.get().and_then(Weak::upgrade);
                io.machine.report(channels.map(|channels| channels.image(0)));
            }
        }
        if turn.ended {
            io.connection = None;
            io.machine.disconnected();
            turn.more = true;
            // At a restart, the next hub has come before the last one has gone.
            if self.shared.lock().next.is_none() {
                io.missed = true;
                log::warn!(
                    "the hub is gone: messages wait for the next one (publish_queue), and clients stay connected"
                );
            }
        } else if let Some(connection) = &mut io.connection {
            connection.write(&mut io.machine, now, &mut turn);
        }
        if io.connection.is_none() {
            turn.more |= self.connect_next(io);
        }
        self.publish_results(io);
        turn
    }

    /// Moves what other threads have left to the machine.
    fn take_submitted(&self, io: &mut Io) {
        let mut shared = self.shared.lock();
        mem::swap(&mut shared.submitted, &mut io.submitted);
        let commands = mem::take(&mut shared.commands);
        let (rules, question) = (mem::take(&mut shared.rules), shared.question.take());
        io.machine.set_tail(shared.tail);
        io.machine.set_deflate_min(shared.limits.deflate_min);
        if shared.loaded {
            io.machine.loaded();
        }
        drop(shared);
        self.relay.take_sent(&mut io.machine.parcels);
        io.submitted.drain(..).for_each(|(message, ticket)| io.machine.submit(message, ticket));
        commands.into_iter().for_each(|command| io.machine.command(command));
        rules.into_iter().for_each(|(glob, policy)| io.machine.define(glob, policy));
        question.into_iter().for_each(|end| io.machine.ask_end(end));
    }

    /// Begins with the next connection, if there is one. Then there is more to do.
    fn connect_next(&self, io: &mut Io) -> bool {
        let next = self.shared.lock().next.take();
        match next.map(Connection::new) {
            None => false,
            Some(Ok(connection)) => {
                io.connection = Some(connection);
                io.machine.connected();
                true
            }
            Some(Err(error)) => {
                log::error!("the connection to the hub cannot be used: {error}");
                false
            }
        }
    }

    /// Gives the other threads what has come of a turn.
    fn publish_results(&self, io: &mut Io) {
        self.relay.publish(&mut io.machine.parcels);
        io.machine.take_results(&mut io.results);
        let state = if io.machine.is_ready() { EngineState::Ready } else { EngineState::Away };
        let results = &mut io.results;
        let mut shared = self.shared.lock();
        let changed = shared.state != state;
        if results.is_empty() && !changed {
            return;
        }
        shared.publish(results, state, io.machine.position());
        drop(shared);
        if changed && state == EngineState::Ready && mem::take(&mut io.missed) {
            log::warn!("connected to the hub again");
        }
        self.progress.settle_all(results.settled.iter().map(|settled| (&*settled.ticket, settled.outcome)));
        results.settled.clear();
        match mem::take(&mut results.commands) {
            0 => {}
            commands => self.progress.settle_commands(commands as u64),
        }
        results.answered = false;
        self.wake.wake();
    }

    /// Has the driver take a turn soon. Any thread.
    pub(super) fn wake_driver(&self) {
        self.driver.wake();
    }
}

impl Driven for HubClient {
    fn turn(&self, readable: bool) -> Turn {
        self.work(readable)
    }

    fn socket(&self) -> Option<Arc<UnixStream>> {
        self.io.lock().connection.as_ref().map(|connection| Arc::clone(connection.socket()))
    }

    /// Moves the events to the log, so that they do not pile up.
    fn attend(&self) {
        if !self.shared.lock().events.is_empty()
            && let Some(channels) = self.channels.get().and_then(Weak::upgrade)
        {
            channels.take_over();
        }
    }

    fn driver(&self) -> &Driver {
        &self.driver
    }
}

impl Engine for HubClient {
    fn position(&self) -> Cursor {
        self.shared.lock().position
    }

    fn process(&self) -> u32 {
        self.settings.process
    }

    fn submit(&self, message: Arc<Message>) -> Result<Submitted, Full<Arc<Message>>> {
        let mut shared = self.shared.lock();
        let first = shared.submitted.is_empty();
        let ticket = shared.submit(message, &self.progress)?;
        drop(shared);
        // Once for all that is submitted until the driver looks.
        if first {
            self.driver.wake();
        }
        Ok(Submitted::Queued(ticket))
    }

    fn take(&self, events: &mut Vec<Event>) {
        self.shared.lock().take(events);
    }

    fn command(&self, command: Command) -> Result<(), Full<Command>> {
        let mut shared = self.shared.lock();
        let first = shared.commands.is_empty();
        shared.command(command, &self.progress)?;
        drop(shared);
        if first {
            self.driver.wake();
        }
        Ok(())
    }

    /// The hub does, by its clock: workers come and go.
    fn expires_members(&self) -> bool {
        false
    }

    fn configure(&self, limits: Limits) -> Limits {
        let mut shared = self.shared.lock();
        shared.limits = limits;
        shared.tail = limits.log_bytes;
        let part = limits.log_bytes / self.settings.workers.max(1);
        Limits { log_bytes: part.max(LEAST_LOG).min(limits.log_bytes), ..limits }
    }

    fn define(&self, glob: &str, policy: &Policy) {
        self.shared.lock().rules.push((glob.to_owned(), policy.clone()));
        self.driver.wake();
    }

    fn ask_end(&self) -> Option<Arc<LogEnd>> {
        let mut shared = self.shared.lock();
        let first = shared.question.is_none();
        let end = Arc::clone(shared.question.get_or_insert_default());
        drop(shared);
        // Once for all that ask until the driver looks.
        if first {
            self.driver.wake();
        }
        Some(end)
    }

    fn task(self: Arc<Self>, wakeups: &Arc<Wakeups>) -> Option<EngineTask> {
        self.loaded();
        Some(Driver::task(self, wakeups))
    }

    fn peers(self: Arc<Self>) -> Option<Arc<dyn Peers>> {
        Some(self)
    }

    fn state(&self) -> EngineState {
        self.shared.lock().state
    }

    fn progress(&self) -> Option<&Arc<Progress>> {
        Some(&self.progress)
    }
}
