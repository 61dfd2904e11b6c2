//! All connections, for a loop around poll(2).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};

use super::CONNECTIONS;
use super::connection::Next;
use super::figures::Source;
use super::socket::ClientSocket;
use crate::base::accept::PolledAccept;

/// How often [`Sockets::finish`] looks at the time.
const TICK: Duration = Duration::from_millis(20);

/// The listening sockets and the connections. One thread.
pub struct Sockets {
    listeners: Vec<OwnedFd>,
    clients: Vec<ClientSocket>,
    source: Source,
    accepting: PolledAccept,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("listeners", &self.listeners).field("clients", &self.clients).finish()
    }
}

impl Sockets {
    /// Serves on sockets on which `listen` was called.
    ///
    /// # Errors
    ///
    /// The system refuses to make a socket non-blocking.
    pub fn new(listeners: Vec<OwnedFd>, source: Source) -> io::Result<Self> {
        listeners.iter().try_for_each(|listener| ioctl_fionbio(listener, true))?;
        let accepting = PolledAccept::new("cannot accept a connection for metrics");
        Ok(Sockets { listeners, clients: Vec::new(), source, accepting })
    }

    /// Adds the sockets that are to be waited for. Their events are for [`Sockets::turn`], which is to be called after each
    /// wait.
    pub fn add_to<'a>(&'a self, sockets: &mut Vec<PollFd<'a>>, now: Instant) {
        for client in &self.clients {
            let flags = if client.next(now) == Next::Write { PollFlags::OUT } else { PollFlags::IN };
            sockets.push(PollFd::new(client, flags));
        }
        if self.clients.len() < CONNECTIONS && !self.accepting.pauses(now) {
            sockets.extend(self.listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        }
    }

    /// Whether there is something to do soon without an event.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.clients.is_empty() && !self.accepting.pauses(now)
    }

    /// Reads, writes and accepts. `events` are those of [`Sockets::add_to`], in the same order.
    pub fn turn(&mut self, events: &[PollFlags], now: Instant) {
        let (clients, listeners) = events.split_at(self.clients.len().min(events.len()));
        for (client, events) in self.clients.iter_mut().zip(clients) {
            if !events.is_empty() {
                client.advance(&self.source, now);
            }
        }
        self.clients.retain(|client| client.next(now) != Next::Nothing);
        for (at, _) in listeners.iter().enumerate().filter(|(_, events)| !events.is_empty()) {
            self.accept(at, now);
        }
    }

    /// Serves the clients that expect a response soon, at most until then, and accepts no more of them. Blocks.
    pub fn finish(&mut self, until: Instant) {
        self.listeners.clear();
        loop {
            let now = Instant::now();
            if until <= now || !self.clients.iter().any(|client| client.is_expected(now)) {
                return;
            }
            let mut polled = Vec::new();
            self.add_to(&mut polled, now);
            let tick = (until - now).min(TICK);
            let timeout = Timespec { tv_sec: 0, tv_nsec: tick.subsec_nanos().into() };
            match poll(&mut polled, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            let events: Vec<_> = polled.iter().map(PollFd::revents).collect();
            self.turn(&events, Instant::now());
        }
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        while self.clients.len() < CONNECTIONS {
            let Some(socket) = self.accepting.next(&self.listeners[listener], now) else { return };
            self.clients.push(ClientSocket::new(socket, now));
        }
    }
}
