//! Reading on after the last response, so that the client can read it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::base::timers::Timers;
use crate::net::Socket;

/// How long a client may go on sending after a response that closes the connection.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Reads on for a while, and drops what comes. The FIN was sent already. A socket that is closed with unread bytes is
/// reset, and the reset may destroy the response before the client has read it (RFC 9112 section 9.6).
pub(super) async fn linger(mut socket: Socket, timers: Arc<Timers>, time: Duration, guard: Box<dyn Send + Sync>) {
    let rest = async {
        let mut dropped = vec![0; 16 * 1024];
        while matches!(socket.read(&mut dropped).await, Ok(1..)) {}
    };
    // When the time is over, the connection is cut.
    timers.timeout(time, rest).await;
    drop(guard);
}
