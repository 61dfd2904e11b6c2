//! Push connections: what a client is, and what WebSocket and SSE look like on the wire.
//!
//! | module | subject |
//! |---|---|
//! | [`client`] | one connection as the app sees it: `write`, `pending`, `close`; any thread |
//! | [`mailbox`] | a client's events, in order, on their way to the app |
//! | [`outgoing`] | a client's frames, in order, on their way to the socket |
//! | [`stream`] | the socket side of a client: a task of the reactor |
//! | [`websocket`] | RFC 6455: frames out, messages in |
//! | [`sse`] | `text/event-stream`: events that cannot be broken |
//! | [`close`] | close codes and reasons |
//! | [`wakeups`] | one wake-up of the reactor for many written clients |

pub mod client;
pub mod close;
pub mod mailbox;
pub mod outgoing;
pub mod sse;
pub mod stream;
pub mod wakeups;
pub mod websocket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use client::Client;
pub use close::CloseStatus;
pub use mailbox::{Event, Interest, Message, Turn};

use crate::access_log::AccessLog;
use crate::fork::Birth;
use crate::limits::Limits;
use crate::shutdown::Switch;
use crate::stats::Stats;
use crate::tally::Tally;
use crate::timers::Timers;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events, WHATWG HTML section 9.2.
    Sse,
}

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
    /// Wake-ups of written clients.
    pub wakeups: wakeups::Wakeups,
    /// Serving, draining or stopped.
    pub phase: Arc<Switch>,
    /// What a drain waits for.
    pub tally: Arc<Tally>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Where requests are logged; `None` is nowhere.
    pub access_log: Option<AccessLog>,
    /// The process the server runs in.
    pub birth: Birth,
    /// Clients from the start of their stream until their `on_close` has run.
    clients: Mutex<HashMap<u64, Arc<Client>>>,
}

impl Context {
    /// The shared part of a server's clients.
    pub fn new(
        limits: Limits,
        slow_policy: SlowPolicy,
        callbacks: Arc<dyn Callbacks>,
        timers: Arc<Timers>,
        phase: Arc<Switch>,
        tally: Arc<Tally>,
    ) -> Self {
        Context {
            limits,
            slow_policy,
            callbacks,
            timers,
            wakeups: wakeups::Wakeups::default(),
            phase,
            tally,
            stats: Arc::default(),
            access_log: None,
            birth: Birth::now(),
            clients: Mutex::default(),
        }
    }

    /// Tells every client that the server is stopping. Any thread.
    pub fn announce_shutdown(&self) {
        let clients: Vec<_> = self.clients().values().cloned().collect();
        for client in clients {
            client.post(Event::Shutdown);
        }
    }

    /// Closes every client with 1001, whatever its handler is doing. Any thread.
    pub fn close_all(&self) {
        let clients: Vec<_> = self.clients().values().cloned().collect();
        for client in clients {
            client.close(CloseStatus::new(close::code::GOING_AWAY, ""));
        }
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
