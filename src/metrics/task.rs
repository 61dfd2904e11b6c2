//! All connections, for a tokio runtime.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::ioctl_fionbio;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::CONNECTIONS;
use super::connection::Next;
use super::figures::Source;
use super::socket::ClientSocket;
use crate::base::accept::{PAUSE, accept, is_over};
use crate::base::log_throttle::LogThrottle;
use crate::base::timers::Timers;

/// Serves on sockets on which `listen` was called, as long as the runtime runs. To be called inside the runtime.
///
/// # Errors
///
/// The runtime does not take a socket.
pub fn serve(listeners: Vec<OwnedFd>, source: &Source, timers: &Arc<Timers>) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    for listener in listeners {
        ioctl_fionbio(&listener, true)?;
        // SAFETY: a socket has the same descriptor as long as it lives.
        let listener = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?;
        tokio::spawn(accept_all(listener, Arc::clone(&permits), Arc::clone(source), Arc::clone(timers)));
    }
    Ok(())
}

async fn accept_all(listener: AsyncFd<OwnedFd>, permits: Arc<Semaphore>, source: Source, timers: Arc<Timers>) {
    let throttle = LogThrottle::once_a_minute();
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match ready.try_io(|listener| accept(listener.get_ref())) {
            Ok(Ok(socket)) => {
                let client = ClientSocket::new(socket, Instant::now());
                tokio::spawn(serve_client(client, Arc::clone(&source), permit, Arc::clone(&timers)));
            }
            Err(_would_block) => {}
            Ok(Err(error)) if is_over(&error) => {}
            Ok(Err(error)) => {
                if let Some(more) = throttle.allows() {
                    log::error!("cannot accept a connection for metrics: {error}{more}");
                }
                drop(permit);
                timers.sleep(PAUSE).await;
            }
        }
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

async fn serve_client(client: ClientSocket, source: Source, _permit: OwnedSemaphorePermit, timers: Arc<Timers>) {
    // SAFETY: as above. The client never exchanges its socket.
    let Ok(mut client) = (unsafe { AsyncFd::register_with_interest(client, BOTH) }) else { return };
    loop {
        let next = client.get_ref().next(Instant::now());
        let interest = match next {
            Next::Nothing => return,
            Next::Read => Interest::READABLE,
            Next::Write => Interest::WRITABLE,
        };
        let time = client.get_ref().deadline().saturating_duration_since(Instant::now());
        let Some(Ok(mut ready)) = timers.timeout(time, client.ready_mut(interest)).await else { return };
        let now = Instant::now();
        ready.get_inner_mut().advance(&source, now);
        // If it waits for the same as before, the socket blocks.
        if ready.get_inner().next(now) == next {
            ready.clear_ready();
        }
    }
}
