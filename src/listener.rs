//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::base::lifecycle::Phase;
use crate::base::stats::Stats;
use crate::http::{self, connection};

/// How long to wait after `accept` failed: when descriptors or memory are short, trying again at
/// once would spin.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts on `listener` until the server drains; then the socket is closed.
///
/// `places` bounds the connections of the whole server: beyond it, peers wait in the backlog.
pub async fn accept(listener: TcpListener, number: usize, context: Arc<http::Context>, places: Arc<Semaphore>) {
    let mut phase = context.base.lifecycle.receiver();
    let connections = phase.clone();
    let accepting = async {
        loop {
            let (stream, remote) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !belongs_to_peer(&error) {
                        log::warn!("cannot accept connections: {error}");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                    continue;
                }
            };
            // Taken now and not before: each of several listeners would hold one for nobody.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            // Events are small and must not wait for company. Fails only if the peer is gone.
            let _ = stream.set_nodelay(true);
            let guard = Box::new((place, context.base.in_flight.guard(), Counted::new(&context.base.stats)));
            tokio::spawn(connection::serve(stream, remote, number, Arc::clone(&context), connections.clone(), guard));
        }
    };
    tokio::select! {
        () = phase.reached(Phase::Draining) => {}
        () = accepting => {}
    }
}

/// A connection in the statistics, until it is dropped.
struct Counted(Arc<Stats>);

impl Counted {
    fn new(stats: &Arc<Stats>) -> Self {
        stats.connections.add();
        stats.open_connections.add();
        Counted(Arc::clone(stats))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open_connections.sub();
    }
}

/// The connection failed before it was accepted; the listener is fine.
fn belongs_to_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
