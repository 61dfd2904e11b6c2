//! How a connection begins: the header of the PROXY protocol, the TLS handshake, and the choice of HTTP/1 or HTTP/2.
//!
//! Without TLS every connection begins as one of HTTP/1, whose scanner notices the preface of HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::context::Context;
use super::linger::{LINGER, linger};
use super::service::RequestService;
use super::{h1, h2};
use crate::base::lifecycle::{Phase, PhaseReceiver};
use crate::base::log_throttle::LogThrottle;
use crate::base::timers::Timers;
use crate::net::proxy_protocol::{self, ProxyError};
use crate::net::tls::{HTTP2, Handshake, HandshakeError};
use crate::net::{Accepted, Socket};

/// How long a proxy may take to tell its client's address, and a client for its handshake, once the server drains.
const GRACE: Duration = Duration::from_secs(1);

/// The answer to a client that speaks HTTP where TLS is expected.
const PLAIN_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 50\r\n\
    connection: close\r\n\r\nThis port speaks HTTPS. Use https:// in the URL.\r\n";

/// Starts to serve one connection. Inside the runtime.
pub fn begin(accepted: Accepted, context: Arc<Context>, signal: PhaseReceiver) {
    if comes_by_proxy(&accepted, &context) || accepted.handshake.is_some() {
        // A task of its own, so that the task of the connection needs no memory for it as long as the connection lasts.
        tokio::spawn(prepare(accepted, context, signal));
    } else {
        h1::connection::begin(accepted, context, signal);
    }
}

fn comes_by_proxy(accepted: &Accepted, context: &Context) -> bool {
    context.proxy_protocol && context.trusted_proxies.include(accepted.peer)
}

/// Reads the client's address from the header of the proxy at the other end, does the TLS handshake, and serves the connection.
async fn prepare(mut accepted: Accepted, context: Arc<Context>, mut signal: PhaseReceiver) {
    if comes_by_proxy(&accepted, &context) && !introduce(&mut accepted, &context, &mut signal).await {
        return;
    }
    if let Some(handshake) = accepted.handshake.take() {
        let Some(ready) = encrypt(accepted, handshake, &context, &mut signal).await else { return };
        accepted = ready;
    }
    if accepted.socket.alpn_protocol() == Some(HTTP2) {
        let Accepted { socket, peer, listener, guard, .. } = accepted;
        let requests = RequestService::new(context, &socket, peer, listener);
        h2::connection::begin(socket, Bytes::new(), requests, guard);
    } else {
        h1::connection::begin(accepted, context, signal);
    }
}

/// Lets the proxy at the other end tell its client's address, before the first request. Returns false if the connection is to
/// be closed.
async fn introduce(accepted: &mut Accepted, context: &Context, signal: &mut PhaseReceiver) -> bool {
    static SELDOM: LogThrottle = LogThrottle::once_a_minute();

    let proxy = accepted.peer;
    let drained = drained(signal, &context.base.timers);
    let read =
        context.base.timers.timeout(context.base.limits.head_timeout, proxy_protocol::read(&mut accepted.socket));
    let client = tokio::select! {
        client = read => client,
        () = drained => return false,
    };
    match client {
        Some(Ok(client)) => {
            accepted.peer = client.unwrap_or(proxy);
            return true;
        }
        // A health check may only connect.
        Some(Err(ProxyError::Io(error))) => log::debug!("connection from the proxy {proxy}: {error}"),
        Some(Err(error)) => {
            if let Some(held_back) = SELDOM.allows() {
                log::warn!("a connection from the proxy {proxy} is closed: {error} (proxy_protocol){held_back}");
            }
        }
        None => {
            context.base.stats.head_timeouts.add();
            log::debug!("connection from the proxy {proxy}: no PROXY protocol header within head_timeout");
        }
    }
    false
}

/// Encrypts the connection. `None`: it is closed, or about to be.
async fn encrypt(
    accepted: Accepted,
    handshake: Box<Handshake>,
    context: &Context,
    signal: &mut PhaseReceiver,
) -> Option<Accepted> {
    let Accepted { socket, peer, listener, guard, .. } = accepted;
    let stats = &context.base.stats;
    let encrypted = context.base.timers.timeout(context.base.limits.handshake_timeout, handshake.run(socket));
    let encrypted = tokio::select! {
        encrypted = encrypted => encrypted,
        () = drained(signal, &context.base.timers) => return None,
    };
    match encrypted {
        Some(Ok(socket)) => {
            stats.tls_handshakes.add();
            if socket.is_resumed() {
                stats.tls_resumed.add();
            }
            return Some(Accepted { socket, peer, listener, handshake: None, guard });
        }
        Some(Err(HandshakeError::Plain(socket))) => {
            stats.tls_plain_requests.add();
            log::debug!("connection from {peer}: it does not speak TLS");
            tokio::spawn(refuse_plain(socket, Arc::clone(&context.base.timers), guard));
        }
        Some(Err(HandshakeError::Nothing)) => log::debug!("connection from {peer}: it ended before the TLS handshake"),
        Some(Err(HandshakeError::Failed(error))) => {
            stats.tls_failures.add();
            log::debug!("connection from {peer}: the TLS handshake failed: {error}");
        }
        None => {
            stats.handshake_timeouts.add();
            log::debug!("connection from {peer}: no TLS handshake within handshake_timeout");
        }
    }
    None
}

/// Waits until the server has drained for a moment.
async fn drained(signal: &mut PhaseReceiver, timers: &Arc<Timers>) {
    signal.reached(Phase::Draining).await;
    timers.sleep(GRACE).await;
}

/// Answers a client that speaks HTTP where TLS is expected.
async fn refuse_plain(mut socket: Socket, timers: Arc<Timers>, guard: Box<dyn Send + Sync>) {
    // Fails only if the client is gone.
    let _ = socket.write_all(PLAIN_REQUEST).await;
    let _ = socket.shutdown().await;
    linger(socket, timers, LINGER, guard).await;
}
