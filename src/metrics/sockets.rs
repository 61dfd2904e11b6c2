//! All connections, for a loop around poll(2).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionbio;

use super::connection::Next;
use super::figures::Source;
use super::socket::{ClientSocket, accept, is_over};
use super::{CONNECTIONS, PAUSE};
use crate::base::log_throttle::LogThrottle;

/// The listening sockets and the connections. One thread.
pub struct Sockets {
    listeners: Vec<OwnedFd>,
    clients: Vec<ClientSocket>,
    source: Source,
    /// No connections are accepted before.
    accept_at: Instant,
    throttle: LogThrottle,
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
        let throttle = LogThrottle::once_a_minute();
        Ok(Sockets { listeners, clients: Vec::new(), source, accept_at: Instant::now(), throttle })
    }

    /// Adds the sockets that are to be waited for. Their events are for [`Sockets::turn`], which is to be called after each
    /// wait.
    pub fn add_to<'a>(&'a self, sockets: &mut Vec<PollFd<'a>>, now: Instant) {
        for client in &self.clients {
            let flags = if client.next(now) == Next::Write { PollFlags::OUT } else { PollFlags::IN };
            sockets.push(PollFd::new(client, flags));
        }
        if self.clients.len() < CONNECTIONS && self.accept_at <= now {
            sockets.extend(self.listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        }
    }

    /// Whether there is something to do soon without an event.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.clients.is_empty() && self.accept_at <= now
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

    fn accept(&mut self, listener: usize, now: Instant) {
        while self.clients.len() < CONNECTIONS {
            match accept(&self.listeners[listener]) {
                Ok(socket) => self.clients.push(ClientSocket::new(socket, now)),
                Err(error) if is_over(&error) => return,
                Err(error) => {
                    self.accept_at = now + PAUSE;
                    if let Some(more) = self.throttle.allows() {
                        log::error!("cannot accept a connection for metrics: {error}{more}");
                    }
                    return;
                }
            }
        }
    }
}
