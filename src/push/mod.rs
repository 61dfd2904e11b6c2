//! Push connections: what a client is, and what WebSocket and SSE look like on the wire.
//!
//! | module | subject |
//! |---|---|
//! | [`client`] | one connection as the app sees it: `write`, `pending`, `close`; any thread |
//! | [`delivery`] | channel messages on their way from the log to those who wait for them |
//! | [`feed`] | a client's reader of channels, and how it becomes bytes |
//! | [`subscriptions`] | a client's channels: `subscribe`, `unsubscribe`, `recovered?` |
//! | `outbox` | what an app wrote and asked for, on its way to the stream |
//! | [`mailbox`] | a client's events, in order, on their way to the app |
//! | [`pressure`] | a bound over the queues of all clients |
//! | [`poll`] | long polls: clients without a stream |
//! | [`outgoing`] | a client's frames, in order, on their way to the socket |
//! | [`stream`] | the socket side of a client: a task of the reactor |
//! | [`websocket`] | RFC 6455: frames out, messages in |
//! | [`returns`] | when clients that are cut off come back |
//! | [`sse`] | `text/event-stream`: events that cannot be broken |
//! | [`close`] | close codes and reasons |

pub mod client;
pub mod close;
pub mod delivery;
pub mod feed;
pub mod mailbox;
mod outbox;
pub mod outgoing;
pub mod poll;
pub mod pressure;
pub mod returns;
pub mod sse;
pub mod stream;
pub mod subscriptions;
pub mod websocket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use client::Client;
pub use close::CloseStatus;
pub use delivery::PubSub;
pub use mailbox::{Event, Interest, Message, Turn};
pub use returns::Returns;

use crate::access_log::AccessLog;
use crate::channel::{Form, Since};
use crate::disk::Disk;
use crate::fork::Birth;
use crate::limits::Limits;
use crate::shutdown::Switch;
use crate::stats::Stats;
use crate::tally::Tally;
use crate::timers::Timers;
use crate::wakeups::Wakeups;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events, WHATWG HTML section 9.2.
    Sse,
}

/// What a client speaks, and what its app knows of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// The protocol.
    pub protocol: Protocol,
    /// How it gets channel messages: of a WebSocket, whether the subprotocol is push.v1.
    pub form: Form,
    /// What it has got before, by its own word.
    pub since: Since,
    /// It polls: its event stream comes in pieces.
    pub polls: bool,
}

/// The WebSocket subprotocol in which text messages hold the blocks of an event stream.
pub const SUBPROTOCOL: &str = "push.v1";

/// What happens to a client that is slow (see [`Limits::slow_bytes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It is closed: 1013, unsent data is dropped.
    Close,
    /// `write` returns false until it has caught up.
    Reject,
}

/// Where clients report that their mailbox has something to do.
pub trait Callbacks: Send + Sync {
    /// `client` has events to run; a worker should take a [`Turn`]. Any thread; must not block.
    fn ready(&self, client: Arc<Client>);
}

/// What all clients of a server share.
pub struct Context {
    /// The server's limits.
    pub limits: Limits,
    /// What becomes of slow clients.
    pub slow_policy: SlowPolicy,
    /// Where mailboxes are run.
    pub callbacks: Arc<dyn Callbacks>,
    /// Deadlines of all streams.
    pub timers: Arc<Timers>,
    /// How tasks of the reactor are woken from other threads.
    pub wakeups: Arc<Wakeups>,
    /// Serving, draining or stopped.
    pub phase: Arc<Switch>,
    /// What a drain waits for.
    pub tally: Arc<Tally>,
    /// The channels of the process.
    pub pubsub: PubSub,
    /// Who delivers their messages to this server's clients.
    pub courier: Arc<delivery::Courier>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Where requests are logged; `None` is nowhere.
    pub access_log: Option<AccessLog>,
    /// The thread that does all work that may wait for a disk.
    pub disk: Arc<Disk>,
    /// The process the server runs in.
    pub birth: Birth,
    /// When clients that are cut off come back.
    pub returns: Returns,
    /// Clients from the start of their stream until their `on_close` has run.
    pub clients: Clients,
    /// How much waits for all clients together.
    pub pressure: pressure::Pressure,
    /// The sessions of those that poll.
    pub sessions: poll::Sessions,
}

/// The clients of a server, by number.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<u64, Arc<Client>>>);

impl Clients {
    fn insert(&self, client: &Arc<Client>) {
        self.lock().insert(client.id(), Arc::clone(client));
    }

    fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// The client of this number.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.lock().get(&id).cloned()
    }

    fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// What a server's clients share, with everything but these three as it is by default: see the fields.
    pub fn new(limits: Limits, callbacks: Arc<dyn Callbacks>, wakeups: Arc<Wakeups>) -> Self {
        Context {
            returns: Returns::new(&limits),
            pressure: pressure::Pressure::new(&limits, Arc::clone(&wakeups)),
            limits,
            slow_policy: SlowPolicy::Close,
            callbacks,
            timers: Arc::default(),
            phase: Arc::default(),
            tally: Arc::default(),
            pubsub: PubSub::default(),
            courier: delivery::Courier::new(Arc::clone(&wakeups)),
            wakeups,
            stats: Arc::default(),
            access_log: None,
            disk: Arc::default(),
            birth: Birth::now(),
            clients: Clients::default(),
            sessions: poll::Sessions::default(),
        }
    }

    /// Tells every client that the server is stopping, in at most `time`. Any thread.
    pub fn announce_shutdown(&self, time: Duration) {
        let clients = self.clients.all();
        self.returns.spread(clients.len(), time);
        for client in clients {
            client.post(Event::Shutdown);
        }
    }

    /// Closes every client with 1001, whatever its handler is doing. Any thread.
    pub fn close_all(&self) {
        for client in self.clients.all() {
            client.close(CloseStatus::new(close::code::GOING_AWAY, ""));
        }
    }
}
