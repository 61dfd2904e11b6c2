//! The sockets of a hub, and its loop.
//!
//! The loop waits with poll(2), which is the cheapest way for a handful of sockets, and needs no runtime. A turn reads a
//! piece from each socket that has something, numbers all that came, and writes it to all workers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, writev};
use rustix::net::acceptfrom;

use super::delivery::Flushed;
use super::numbers::NumberStore;
use super::orders::Order;
use super::peer::PeerId;
use super::state::{Hub, Settings};
use crate::base::lines::{LineReader, LineWriter};
use crate::base::log_throttle::LogThrottle;
use crate::base::open_files::raise_limit;
use crate::base::stats::StatsHandle;
use crate::metrics::Sockets;

/// Bytes that are read from one socket in a turn, so that each has its turn.
const PIECE: usize = 64 << 10;

/// Connections of outsiders, if enough files may be open. Beyond it new ones wait.
const OUTSIDERS: usize = 1000;

/// Pieces that are read from a worker's connection when the worker has ended: more than a socket holds.
const LAST_READS: usize = 1024;

/// Open files that are enough for these and thousands of workers. The soft limit is raised to it, if the hard one allows.
const FILES: u64 = 4096;

/// Connections that are accepted in one turn.
const ACCEPTS: usize = 64;

/// Time until new connections are accepted again after that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest line of the supervisor: it names all processes.
const LINE: usize = 256 << 10;

/// Time for workers to take what they have not got when the hub is to stop.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How often the hub looks at the time: while something waits, and while nothing does.
const TICK: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_secs(1);

/// Why [`Driver::run`] has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The hub has ended: the supervisor is gone, has stopped it, or another hub has its log.
    Ended,
    /// [`Interrupt::send`] was called. Call [`Driver::run`] again.
    Interrupted,
}

/// Makes [`Driver::run`] return. Any thread may use it.
#[derive(Debug)]
pub struct Interrupt(UnixStream);

impl Interrupt {
    /// Makes the present call return, or the next one.
    pub fn send(&self) {
        // If it is full, the loop will see it anyway.
        let _ = (&self.0).write(&[0]);
    }
}

/// A connection.
struct Connection {
    socket: OwnedFd,
    outsider: bool,
    /// The hub waits until it can write.
    blocked: bool,
}

/// A hub with its sockets.
pub struct Driver {
    link: OwnedFd,
    reader: LineReader,
    writer: LineWriter,
    publish: Option<OwnedFd>,
    interrupted: UnixStream,
    /// Until the supervisor has said how the hub begins.
    waiting: Option<(NumberStore, Settings)>,
    hub: Option<Hub>,
    connections: BTreeMap<PeerId, Connection>,
    outsiders: usize,
    most_outsiders: usize,
    /// The process numbers of the workers whose connections these are.
    workers: BTreeMap<PeerId, u32>,
    /// Those on which metrics are served.
    metrics: Option<Sockets>,
    /// Where the hub counts what outsiders publish.
    stats: StatsHandle,
    /// No connections are accepted before.
    accept_at: Instant,
    throttle: LogThrottle,
    /// The hub has to end then.
    stop_at: Option<Instant>,
    piece: Vec<u8>,
}

impl Driver {
    /// A hub with the supervisor's `link`, the socket on which outsiders connect, and the number store. Tells the supervisor
    /// that it is ready.
    pub fn new(
        link: OwnedFd,
        publish: Option<OwnedFd>,
        numbers: NumberStore,
        settings: Settings,
    ) -> io::Result<(Self, Interrupt)> {
        let (interrupted, sender) = UnixStream::pair()?;
        interrupted.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        ioctl_fionbio(&link, true)?;
        if let Some(publish) = &publish {
            ioctl_fionbio(publish, true)?;
        }
        let mut driver = Driver {
            link,
            reader: LineReader::new(LINE),
            writer: LineWriter::new(LINE),
            publish,
            interrupted,
            waiting: Some((numbers, settings)),
            hub: None,
            connections: BTreeMap::new(),
            outsiders: 0,
            most_outsiders: most_outsiders(raise_limit(FILES).unwrap_or(u64::MAX)),
            workers: BTreeMap::new(),
            metrics: None,
            stats: StatsHandle::default(),
            accept_at: Instant::now(),
            throttle: LogThrottle::once_a_minute(),
            stop_at: None,
            piece: vec![0; PIECE],
        };
        driver.tell("ready")?;
        Ok((driver, Interrupt(sender)))
    }

    /// Serves metrics, too. Before [`Driver::run`].
    pub fn serve_metrics(&mut self, sockets: Sockets) {
        self.metrics = Some(sockets);
    }

    /// Counts there what other processes than workers publish. Before [`Driver::run`].
    pub fn count_in(&mut self, stats: StatsHandle) {
        self.stats = stats;
    }

    /// Runs until the hub ends, or until it is interrupted.
    ///
    /// # Errors
    ///
    /// The link is broken, or the system refuses to wait for sockets.
    pub fn run(&mut self) -> io::Result<Outcome> {
        loop {
            let ready = self.wait()?;
            let (now, system) = (Instant::now(), SystemTime::now());
            self.hub.iter_mut().for_each(|hub| hub.set_time(now, system));
            if ready.interrupted {
                while matches!(self.interrupted.read(&mut [0; 64]), Ok(64)) {}
                return Ok(Outcome::Interrupted);
            }
            if ready.link && !self.take_orders()? {
                return Ok(Outcome::Ended);
            }
            if ready.publish {
                self.accept();
            }
            ready.readable.into_iter().for_each(|id| _ = self.read(id));
            for id in ready.writable {
                self.connections.get_mut(&id).into_iter().for_each(|connection| connection.blocked = false);
                self.hub.iter_mut().for_each(|hub| hub.unblock(id));
            }
            self.metrics.iter_mut().for_each(|metrics| metrics.turn(&ready.metrics, now));
            // After reading: if this process was paused, it must not find those silent that have sent something meanwhile.
            self.hub.iter_mut().for_each(|hub| hub.tick(now, system));
            self.write();
            if self.has_ended() {
                return Ok(Outcome::Ended);
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<Ready> {
        let now = Instant::now();
        let accepts = self.hub.as_ref().is_some_and(Hub::accepts)
            && self.outsiders < self.most_outsiders
            && self.accept_at <= now;
        let publish = self.publish.as_ref().filter(|_| accepts);
        let out = if self.writer.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut sockets = Vec::with_capacity(self.connections.len() + 3);
        sockets.push(PollFd::new(&self.link, PollFlags::IN | out));
        sockets.push(PollFd::new(&self.interrupted, PollFlags::IN));
        for (id, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.hub.as_ref().is_none_or(|hub| hub.reads(*id)));
            flags.set(PollFlags::OUT, connection.blocked);
            sockets.push(PollFd::new(&connection.socket, flags));
        }
        let metrics_at = sockets.len();
        self.metrics.iter().for_each(|metrics| metrics.add_to(&mut sockets, now));
        let publish_at = sockets.len();
        sockets.extend(publish.map(|publish| PollFd::new(publish, PollFlags::IN)));
        let serves_metrics = self.metrics.as_ref().is_some_and(|metrics| !metrics.is_idle(now));
        let timeout = match &self.hub {
            Some(hub) if hub.has_writers() => Duration::ZERO,
            Some(hub) if !hub.is_idle() || self.accept_at > now || self.stop_at.is_some() => TICK,
            _ if serves_metrics => TICK,
            _ => IDLE,
        };
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match poll(&mut sockets, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events: Vec<_> = sockets.iter().map(PollFd::revents).collect();
        let input = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let of = |flags: PollFlags| {
            let ids = self.connections.keys().zip(&events[2..]);
            ids.filter(|(_, events)| events.intersects(flags)).map(|(id, _)| *id).collect()
        };
        Ok(Ready {
            link: !events[0].is_empty(),
            interrupted: !events[1].is_empty(),
            publish: events.get(publish_at).is_some_and(|events| !events.is_empty()),
            metrics: events[metrics_at..publish_at].to_vec(),
            readable: of(input),
            writable: of(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR),
        })
    }

    // ---- the supervisor ----------------------------------------------------------------------

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.writer.push(line, Vec::new())?;
        self.flush_link()
    }

    /// The supervisor makes another connection to this worker, unless it has ended.
    fn tell_lost(&mut self, process: u32) {
        // An error means that the supervisor is gone or does not read: the next turn sees it.
        let _ = self.tell(&format!("lost {process}"));
    }

    /// The supervisor need not be told when the present connection of this worker ends.
    fn forget(&mut self, process: u32) {
        self.workers.retain(|_, worker| *worker != process);
    }

    fn flush_link(&mut self) -> io::Result<()> {
        match self.writer.flush(&self.link) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes what the supervisor has told. Returns false if the supervisor is gone.
    fn take_orders(&mut self) -> io::Result<bool> {
        if self.flush_link().is_err() {
            return Ok(false);
        }
        loop {
            let line = match self.reader.read(&self.link) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            };
            let text = line.text.clone();
            match Order::parse(line) {
                Some(order) => self.carry_out(order)?,
                None => log::error!("the hub does not understand its supervisor, or has no free descriptor: {text}"),
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> io::Result<()> {
        match (order, &mut self.hub) {
            (Order::Ping(number), _) => return self.tell(&format!("pong {number}")),
            (Order::Stop, _) => self.stop_at = Some(Instant::now() + LAST_WRITES),
            (Order::Start(start, old), None) => {
                let Some((numbers, settings)) = self.waiting.take() else { return Ok(()) };
                let mut hub = Hub::new(settings, numbers, start, Instant::now());
                hub.count_in(self.stats.clone());
                if let Some(old) = old {
                    let id = hub.connect_old_hub();
                    self.connect(id, old, false);
                }
                self.hub = Some(hub);
            }
            (Order::Worker(process, Some(socket)), Some(hub)) => {
                let id = hub.connect_worker(process);
                self.forget(process);
                self.connect(id, socket, false);
                self.workers.insert(id, process);
            }
            (Order::Worker(process, None), Some(_)) => {
                log::error!(
                    "the hub got no connection to the worker with the process number {process}: too many files"
                );
                self.tell_lost(process);
            }
            (Order::Gone(process, drained), Some(hub)) => {
                // A child of the worker may have inherited the connection, so its end need not come.
                let ids = hub.connections_of(process);
                self.forget(process);
                for id in ids {
                    (0..LAST_READS).any(|_| !self.read(id));
                    self.hub.iter_mut().for_each(|hub| hub.gone(id));
                    self.disconnect(id);
                }
                self.hub.iter_mut().for_each(|hub| {
                    if !drained {
                        hub.note_death(process);
                    }
                    hub.lose(process);
                });
            }
            (Order::HandOver(socket), Some(hub)) => {
                let id = hub.hand_over();
                self.connect(id, socket, false);
            }
            _ => log::error!("the supervisor has given the hub an order at the wrong time"),
        }
        Ok(())
    }

    // ---- sockets -----------------------------------------------------------------------------

    fn connect(&mut self, id: PeerId, socket: OwnedFd, outsider: bool) {
        if let Err(error) = ioctl_fionbio(&socket, true) {
            log::error!("a connection to the hub cannot be used: {error}");
        }
        self.outsiders += usize::from(outsider);
        self.connections.insert(id, Connection { socket, outsider, blocked: false });
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS.min(self.most_outsiders - self.outsiders) {
            let (Some(publish), Some(hub)) = (&self.publish, &mut self.hub) else { return };
            match acceptfrom(publish) {
                Ok((socket, _)) => {
                    let id = hub.connect_outsider();
                    self.connect(id, socket, true);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    self.accept_at = Instant::now() + PAUSE;
                    if let Some(more) = self.throttle.allows() {
                        log::error!("the hub cannot accept a connection: {error}{more}");
                    }
                    return;
                }
            }
        }
    }

    /// Reads once. Returns false if there is no more.
    fn read(&mut self, id: PeerId) -> bool {
        let (Some(connection), Some(hub)) = (self.connections.get(&id), &mut self.hub) else { return false };
        match read(&connection.socket, &mut self.piece) {
            Ok(count) if count > 0 => hub.receive(id, &self.piece[..count]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            // The end, or an error that is one.
            _ => {
                hub.gone(id);
                self.disconnect(id);
                return false;
            }
        }
        true
    }

    /// Writes what waits for peers, as far as their sockets take it.
    fn write(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        hub.end_turn();
        // A peer that takes very much is on the list again, and may have to wait for the next turn.
        for _ in 0..2 * self.connections.len() {
            let Some(id) = hub.next_writer() else { break };
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let flushed = hub.flush(id, |slices| Ok(writev(connection.socket.as_fd(), slices)?));
            connection.blocked = flushed == Flushed::Blocked;
        }
        while let Some(id) = self.hub.as_mut().and_then(Hub::next_closed) {
            self.disconnect(id);
        }
    }

    fn disconnect(&mut self, id: PeerId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.outsiders -= usize::from(connection.outsider);
        }
        if let Some(process) = self.workers.remove(&id) {
            self.tell_lost(process);
        }
    }

    fn has_ended(&self) -> bool {
        let Some(hub) = &self.hub else { return self.stop_at.is_some() };
        let stopped = self.stop_at.is_some_and(|at| hub.is_flushed() || at <= Instant::now());
        stopped || hub.has_left()
    }
}

/// How many outsiders may be connected when so many files may be open. Half of them are for workers: the supervisor needs more
/// files for a worker than this process, and starts no more workers than it has files for.
fn most_outsiders(files: u64) -> usize {
    usize::try_from(files / 2).map_or(OUTSIDERS, |half| half.clamp(1, OUTSIDERS))
}

/// What has happened.
struct Ready {
    link: bool,
    interrupted: bool,
    publish: bool,
    metrics: Vec<PollFlags>,
    readable: Vec<PeerId>,
    writable: Vec<PeerId>,
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
