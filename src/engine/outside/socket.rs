//! The publish socket and its connections: accepting, reading and writing.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::hub::protocol::{INCOMPLETE, OUTSIDERS, PATIENCE};
use super::authors::Authors;
use super::session::{Session, Shared};
use crate::base::accept::PAUSE;
use crate::base::lifecycle::{Phase, PhaseReceiver};
use crate::base::lock::Lock;
use crate::base::log_throttle::LogThrottle;
use crate::base::timers::Timers;
use crate::channel::Channels;

/// Bytes that are read in one go.
const CHUNK: usize = 16 * 1024;

/// A connection that has got this many bytes lets other tasks of the reactor run.
const TURN: usize = 256 * 1024;

/// How long the answers may take when the server stops.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The publish socket of a server.
pub struct PublishSocket {
    listener: StdUnixListener,
    shared: Arc<Shared>,
    buffered: Arc<AtomicUsize>,
}

impl PublishSocket {
    /// `socket` is a Unix socket that listens. What comes through it is published to `channels`.
    ///
    /// # Errors
    ///
    /// The system refuses to make the socket non-blocking.
    pub fn new(socket: OwnedFd, channels: Arc<Channels>) -> io::Result<Self> {
        let listener = StdUnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { channels, authors: Lock::new(Authors::default()) });
        Ok(PublishSocket { listener, shared, buffered: Arc::default() })
    }

    /// Serves until the server drains. To be called inside the runtime, in a task of its own.
    ///
    /// # Errors
    ///
    /// The runtime does not take the socket.
    pub fn serve(
        self,
        phase: PhaseReceiver,
        timers: &Arc<Timers>,
    ) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let listener = UnixListener::from_std(self.listener)?;
        let (shared, buffered, timers) = (self.shared, self.buffered, Arc::clone(timers));
        let permits = Arc::new(Semaphore::new(OUTSIDERS));
        Ok(async move {
            let mut draining = phase.clone();
            let throttle = LogThrottle::once_a_minute();
            let accepting = async {
                loop {
                    let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                    let socket = accept(&listener, &throttle, &timers).await;
                    let connection = Connection::new(socket, &shared, &buffered, &timers, permit);
                    tokio::spawn(connection.serve(phase.clone()));
                }
            };
            tokio::select! {
                () = draining.reached(Phase::Draining) => {}
                () = accepting => {}
            }
        })
    }
}

async fn accept(listener: &UnixListener, throttle: &LogThrottle, timers: &Arc<Timers>) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                if let Some(more) = throttle.allows() {
                    log::warn!("cannot accept connections to the publish socket: {error}{more}");
                }
                timers.sleep(PAUSE).await;
            }
        }
    }
}

/// A connection.
struct Connection {
    socket: UnixStream,
    session: Session,
    received: Vec<u8>,
    out: Vec<u8>,
    buffered: Buffered,
    timers: Arc<Timers>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        socket: UnixStream,
        shared: &Arc<Shared>,
        all: &Arc<AtomicUsize>,
        timers: &Arc<Timers>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let session = Session::new(Arc::clone(shared));
        let buffered = Buffered { all: Arc::clone(all), own: 0 };
        Connection {
            socket,
            session,
            received: Vec::new(),
            out: Vec::new(),
            buffered,
            timers: Arc::clone(timers),
            _permit: permit,
        }
    }

    async fn serve(mut self, mut phase: PhaseReceiver) {
        let mut turn = 0;
        loop {
            let (taken, result) =
                self.session.receive(&self.received, (Instant::now(), SystemTime::now()), &mut self.out);
            self.received.drain(..taken);
            if !self.flush(&mut phase).await {
                return;
            }
            if let Err(ended) = result {
                log::debug!("a connection to the publish socket ends: {ended}");
                return;
            }
            // The answers may have been too many for all frames that have come.
            if taken > 0 {
                continue;
            }
            if !self.buffered.set(self.received.len(), INCOMPLETE + self.session.longest()) {
                log::warn!(
                    "a connection to the publish socket is closed: too much has come of frames that have no end"
                );
                return;
            }
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
            turn += tokio::select! {
                biased;
                // All frames that have come are answered. Those that the socket still has are sent again to the next server.
                () = phase.reached(Phase::Draining) => return,
                bytes = self.read() => match bytes {
                    Some(bytes) => bytes,
                    None => return,
                },
            };
        }
    }

    /// Reads once. `None`: the connection ends.
    async fn read(&mut self) -> Option<usize> {
        self.give_memory_back();
        loop {
            let idle = self.session.greeted() && self.received.is_empty();
            let readable = self.socket.readable();
            let ready = if idle { readable.await } else { self.timers.timeout(PATIENCE, readable).await? };
            ready.ok()?;
            self.received.reserve(CHUNK);
            match self.socket.try_read_buf(&mut self.received) {
                Ok(0) => return None,
                Ok(bytes) => return Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends all answers. While the peer takes none, nothing is read from it. `false`: the connection ends.
    async fn flush(&mut self, phase: &mut PhaseReceiver) -> bool {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.socket.try_write(&self.out[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let too_late = async {
                        phase.reached(Phase::Draining).await;
                        self.timers.sleep(LAST_ANSWERS).await;
                    };
                    tokio::select! {
                        ready = self.socket.writable() => if ready.is_err() { return false },
                        () = too_late => return false,
                    }
                }
                Err(_) => return false,
            }
        }
        self.out.clear();
        true
    }

    /// A long frame leaves no long buffer behind.
    fn give_memory_back(&mut self) {
        for buffer in [&mut self.received, &mut self.out] {
            if buffer.is_empty() && buffer.capacity() > 4 * CHUNK {
                *buffer = Vec::new();
            }
        }
    }
}

/// How much of the bytes of all connections together is this one's.
struct Buffered {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Buffered {
    /// Sets the bytes of this connection. `false`: all together are too many, and this one has a part of them.
    fn set(&mut self, bytes: usize, most: usize) -> bool {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
        self.own = bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes <= most || bytes <= CHUNK
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}
