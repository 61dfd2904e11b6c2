//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::listener::Listener;
use super::pace::Pace;
use super::tls::{CurrentConfig, Handshake, Handshakes};
use super::{ListenerId, Peer, Socket};
use crate::base;
use crate::base::lifecycle::Phase;

/// How long to wait after `accept` failed. When descriptors or memory are short, another attempt at once would spin.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A connection that has been accepted.
pub struct Accepted {
    /// Its socket.
    pub socket: Socket,
    /// The other end.
    pub peer: Peer,
    /// The listener it came through.
    pub listener: ListenerId,
    /// The TLS handshake that the connection begins with.
    pub handshake: Option<Box<Handshake>>,
    /// The connection counts as open (`max_connections`, a drain, the statistics) until this is dropped.
    pub guard: Box<dyn Send + Sync>,
}

/// Asks an accept loop to close its listener. Dropped when that is done.
pub(super) type Retirement = Sender<()>;

/// Accepts connections and hands them on. The listeners of a server share one.
pub struct Acceptor {
    base: Arc<base::Context>,
    /// One permit for each connection of the server. When all are taken, clients wait in the backlog.
    permits: Arc<Semaphore>,
    handshakes: Handshakes,
    /// See [`Acceptor::new`].
    shared: bool,
    serve: Box<dyn Fn(Accepted) + Send + Sync>,
}

impl Acceptor {
    /// `serve` gets each connection, at most `max_connections` at a time. It is called in the reactor.
    ///
    /// `shared`: other processes accept from the same sockets. See `pace`.
    pub fn new(
        base: Arc<base::Context>,
        max_connections: usize,
        shared: bool,
        serve: impl Fn(Accepted) + Send + Sync + 'static,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        let handshakes = Handshakes::new(base.limits.max_handshakes);
        Acceptor { base, permits, handshakes, shared, serve: Box::new(serve) }
    }

    /// Accepts from `listener` until the server drains or the listener is retired. Then the socket is closed. Connections
    /// in the backlog are served, unless the server restarts: then other processes accept them.
    pub(super) async fn run(
        self: Arc<Self>,
        listener: Listener,
        id: ListenerId,
        tls: Option<Arc<CurrentConfig>>,
        retired: oneshot::Receiver<Retirement>,
    ) {
        let mut phase = self.base.lifecycle.receiver();
        // A drain waits until this has looked at the backlog.
        let looking = self.base.in_flight.guard();
        let retirement = tokio::select! {
            () = phase.reached(Phase::Draining) => None,
            retirement = retired => retirement.ok(),
            never = self.accept_all(&listener, id, tls.as_ref()) => match never {},
        };
        // Other processes accept from the socket.
        if retirement.is_none() && self.base.lifecycle.restarts() {
            return;
        }
        // The connections in the backlog are complete for their clients. Closing resets only those beyond
        // `max_connections`, if no other process has the socket.
        let listening = listener.deregister();
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            let handshake = tls.as_ref().map(|config| self.handshakes.try_acquire(config));
            // Without room for its handshake, a connection is as one beyond `max_connections`.
            if matches!(handshake, Some(None)) {
                break;
            }
            let Ok(connection) = listening.accept() else { break };
            self.hand_on(connection, id, handshake.flatten(), permit);
        }
        drop((listening, retirement, looking));
    }

    /// Accepts for ever. Nothing that was accepted is lost when this is cancelled.
    async fn accept_all(
        &self,
        listener: &Listener,
        id: ListenerId,
        tls: Option<&Arc<CurrentConfig>>,
    ) -> std::convert::Infallible {
        let mut pace = Pace::default();
        loop {
            if self.shared {
                pace.pause(&self.base.timers).await;
            }
            let ready = listener.ready().await;
            // Taken before the connection: while this server is full, its clients wait in the backlog, where another process
            // may accept them. Taken after the wait for a connection: each of several listeners would hold a permit otherwise.
            let permit = self.permit().await;
            let handshake = match tls {
                Some(config) => Some(self.handshakes.acquire(config).await),
                None => None,
            };
            let accepted = match ready {
                Ok(ready) => ready.accept(),
                Err(error) => Some(Err(error)),
            };
            match accepted {
                Some(Ok(connection)) => {
                    pace.took();
                    self.hand_on(connection, id, handshake, permit);
                }
                None => pace.rest(),
                Some(Err(error)) => {
                    drop(permit);
                    if !belongs_to_peer(&error) {
                        log::warn!("cannot accept connections: {error}");
                        self.base.timers.sleep(BACK_OFF).await;
                    }
                }
            }
        }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn hand_on(
        &self,
        (socket, peer): (Socket, Peer),
        listener: ListenerId,
        handshake: Option<Box<Handshake>>,
        permit: OwnedSemaphorePermit,
    ) {
        let guard = Box::new((permit, self.base.in_flight.guard(), Counted::new(&self.base)));
        (self.serve)(Accepted { socket, peer, listener, handshake, guard });
    }
}

/// Counts a connection as open until it is dropped.
struct Counted(Arc<base::Context>);

impl Counted {
    fn new(base: &Arc<base::Context>) -> Self {
        base.stats.connections.add();
        base.stats.open_connections.add();
        Counted(Arc::clone(base))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.stats.open_connections.sub();
    }
}

/// Whether a connection failed before it was accepted. Then the listener itself is in order.
fn belongs_to_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
