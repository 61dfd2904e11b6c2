//! What all clients of a server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Client;
use super::clients::Clients;
use super::delivery::{Notifier, PubSub};
use super::fan_out::FanOut;
use super::mailbox::Event;
use super::poll::{Relay, Sessions};
use super::pressure::Pressure;
use super::reconnect::ReconnectDelay;
use crate::base;
use crate::websocket::close::{CloseStatus, code};

/// What happens to a client that is slow (see [`crate::Limits::slow_bytes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It is closed: 1013, unsent data is dropped.
    Close,
    /// `write` returns false until it has caught up.
    Reject,
}

/// Where clients report that their mailbox has something to do.
pub trait Callbacks: Send + Sync {
    /// `client` has events to run; an app thread should take a [`super::Turn`]. Any thread; must not block.
    fn ready(&self, client: Arc<Client>);
}

/// What all clients of a server share.
pub struct Context {
    /// What all parts of the server share.
    pub base: Arc<base::Context>,
    /// What happens to slow clients.
    pub slow_policy: SlowPolicy,
    /// Whether messages to and from WebSockets are compressed, if clients offer that.
    pub compression: bool,
    /// How many clients have an [`super::inflaters::InflaterPlace`].
    pub inflaters: Arc<AtomicUsize>,
    /// Where mailboxes report that they have events.
    pub callbacks: Arc<dyn Callbacks>,
    /// The channels of the process.
    pub pubsub: PubSub,
    /// Notifies this server's clients of messages in their channels.
    pub notifier: Arc<Notifier>,
    /// Sends messages to idle streams without waking them.
    pub fan_out: FanOut,
    /// How long clients that are cut off wait before they reconnect.
    pub reconnect_delay: ReconnectDelay,
    /// Clients from the start of their stream until their `on_close` has run.
    pub clients: Clients,
    /// How much waits for all clients together.
    pub pressure: Pressure,
    /// The sessions of clients that poll.
    pub sessions: Sessions,
    /// The way to sessions of other processes; `None` if there are no others.
    pub relay: Option<Relay>,
    /// Whether another server follows when this one stops; see [`set_restarts`](Self::set_restarts).
    pub restarts: AtomicBool,
}

impl Context {
    /// What a server's clients share; slow clients are closed.
    pub fn new(base: Arc<base::Context>, callbacks: Arc<dyn Callbacks>, pubsub: PubSub) -> Self {
        Context {
            slow_policy: SlowPolicy::Close,
            compression: false,
            inflaters: Arc::default(),
            callbacks,
            relay: Relay::new(pubsub.channels(), base.owner),
            pubsub,
            notifier: Notifier::new(Arc::clone(&base.wakeups)),
            fan_out: FanOut::new(Arc::clone(&base.wakeups)),
            reconnect_delay: ReconnectDelay::new(&base.limits),
            clients: Clients::default(),
            pressure: Pressure::new(&base.limits, Arc::clone(&base.wakeups)),
            sessions: Sessions::default(),
            restarts: AtomicBool::new(false),
            base,
        }
    }

    /// Says whether another server follows when this one stops. To be called before it begins to drain.
    pub fn set_restarts(&self, restarts: bool) {
        self.restarts.store(restarts, Ordering::Release);
    }

    /// Tells every client that the server is stopping, in at most `time`. Any thread.
    pub fn announce_shutdown(&self, time: Duration) {
        let clients = self.clients.all();
        self.reconnect_delay.spread(clients.len(), time);
        for client in clients {
            client.post(Event::Shutdown);
        }
    }

    /// Closes every client with [`shutdown_status`](Self::shutdown_status), also while its handler runs. Any thread.
    pub fn close_all(&self) {
        for client in self.clients.all() {
            client.close(self.shutdown_status());
        }
    }

    /// With what a client is closed because the server stops: 1012 if the server restarts, or else 1001.
    pub fn shutdown_status(&self) -> CloseStatus {
        let restarts = self.restarts.load(Ordering::Acquire);
        CloseStatus::new(if restarts { code::RESTART } else { code::GOING_AWAY }, "")
    }
}
