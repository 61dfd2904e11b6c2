//! The sockets of the hub's peers, for a loop around poll(2).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio, read, writev};

use super::super::protocol::OUTSIDERS;
use super::delivery::Flushed;
use super::peer::PeerId;
use super::state::Hub;
use crate::base::accept::PolledAccept;

/// Bytes that are read from one socket in a turn, so that each has its turn.
const PIECE: usize = 64 << 10;

/// Connections that are accepted in one turn.
const ACCEPTS: usize = 64;

/// The sockets of all peers, and the one on which outsiders connect.
#[derive(Debug)]
pub(super) struct Sockets {
    publish: Option<OwnedFd>,
    connections: BTreeMap<PeerId, Connection>,
    outsiders: usize,
    most_outsiders: usize,
    accepting: PolledAccept,
    piece: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    outsider: bool,
    /// The hub waits until it can write.
    blocked: bool,
}

/// What has come of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// There may be more.
    More,
    /// Nothing more has come yet.
    Blocked,
    /// The connection has ended.
    Ended,
}

/// Which sockets have something to do.
#[derive(Debug)]
pub(super) struct Ready {
    /// Outsiders wait to be accepted.
    pub(super) publish: bool,
    pub(super) readable: Vec<PeerId>,
    pub(super) writable: Vec<PeerId>,
}

impl Sockets {
    /// `publish` is the socket on which outsiders connect. `files`: how many files this process may have open.
    pub(super) fn new(publish: Option<OwnedFd>, files: u64) -> io::Result<Self> {
        publish.iter().try_for_each(|publish| ioctl_fionbio(publish, true))?;
        Ok(Sockets {
            publish,
            connections: BTreeMap::new(),
            outsiders: 0,
            most_outsiders: most_outsiders(files),
            accepting: PolledAccept::new("the hub cannot accept a connection"),
            piece: vec![0; PIECE],
        })
    }

    /// Closes all of them.
    pub(super) fn close(&mut self) {
        (self.publish, self.outsiders) = (None, 0);
        self.connections.clear();
    }

    /// Adds the sockets that are to be waited for. Their events are for [`Sockets::ready`].
    pub(super) fn add_to<'a>(&'a self, polled: &mut Vec<PollFd<'a>>, hub: Option<&Hub>, now: Instant) {
        for (id, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, hub.is_none_or(|hub| hub.reads(*id)));
            flags.set(PollFlags::OUT, connection.blocked);
            polled.push(PollFd::new(&connection.socket, flags));
        }
        let accepts = hub.is_some_and(Hub::accepts) && self.outsiders < self.most_outsiders && !self.pauses(now);
        let publish = self.publish.as_ref().filter(|_| accepts);
        polled.extend(publish.map(|publish| PollFd::new(publish, PollFlags::IN)));
    }

    /// What the events of [`Sockets::add_to`] say.
    pub(super) fn ready(&self, events: &[PollFlags]) -> Ready {
        let of = |flags: PollFlags| {
            let ids = self.connections.keys().zip(events);
            ids.filter(|(_, events)| events.intersects(flags)).map(|(id, _)| *id).collect()
        };
        let ended = PollFlags::HUP | PollFlags::ERR;
        Ready {
            publish: events.get(self.connections.len()).is_some_and(|events| !events.is_empty()),
            readable: of(PollFlags::IN | ended),
            writable: of(PollFlags::OUT | ended),
        }
    }

    /// Whether nothing is accepted for a moment, because the system has refused.
    pub(super) fn pauses(&self, now: Instant) -> bool {
        self.accepting.pauses(now)
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, id: PeerId, socket: OwnedFd) {
        if let Err(error) = ioctl_fionbio(&socket, true) {
            log::error!("a connection to the hub cannot be used: {error}");
        }
        self.connections.insert(id, Connection { socket, outsider: false, blocked: false });
    }

    /// Closes a connection. Does nothing if it is closed already.
    pub(super) fn remove(&mut self, id: PeerId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.outsiders -= usize::from(connection.outsider);
        }
    }

    /// Accepts outsiders.
    pub(super) fn accept(&mut self, hub: &mut Hub, now: Instant) {
        let Some(publish) = &self.publish else { return };
        for _ in 0..ACCEPTS.min(self.most_outsiders - self.outsiders) {
            let Some(socket) = self.accepting.next(publish, now) else { return };
            self.outsiders += 1;
            let connection = Connection { socket, outsider: true, blocked: false };
            self.connections.insert(hub.connect_outsider(), connection);
        }
    }

    /// Reads once from a connection, for the hub.
    pub(super) fn read(&mut self, id: PeerId, hub: &mut Hub) -> Reading {
        let Some(connection) = self.connections.get(&id) else { return Reading::Blocked };
        match read(&connection.socket, &mut self.piece) {
            Ok(count) if count > 0 => {
                hub.receive(id, &self.piece[..count]);
                Reading::More
            }
            Err(Errno::INTR) => Reading::More,
            Err(Errno::AGAIN) => Reading::Blocked,
            // The end, or an error that is one.
            _ => Reading::Ended,
        }
    }

    /// The socket takes bytes again.
    pub(super) fn unblock(&mut self, id: PeerId) {
        self.connections.get_mut(&id).into_iter().for_each(|connection| connection.blocked = false);
    }

    /// Writes what waits for peers, as far as their sockets take it.
    pub(super) fn write(&mut self, hub: &mut Hub) {
        // A peer that takes very much is on the list again, and may have to wait for the next turn.
        for _ in 0..2 * self.connections.len() {
            let Some(id) = hub.next_writer() else { break };
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let flushed = hub.flush(id, |slices| Ok(writev(connection.socket.as_fd(), slices)?));
            connection.blocked = flushed == Flushed::Blocked;
        }
    }
}

/// How many outsiders may be connected when so many files may be open. Half of them are for workers: the supervisor needs more
/// files for a worker than this process, and starts no more workers than it has files for.
fn most_outsiders(files: u64) -> usize {
    usize::try_from(files / 2).map_or(OUTSIDERS, |half| half.clamp(1, OUTSIDERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outsiders_leave_half_of_the_files_to_workers() {
        let limits = [u64::MAX, 4096, 2000, 1024, 64, 0];
        assert_eq!(limits.map(most_outsiders), [1000, 1000, 1000, 512, 32, 1]);
    }
}
