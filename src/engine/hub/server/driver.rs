//! A hub with its sockets, and its loop.
//!
//! The loop waits with poll(2), which is the cheapest way for a handful of sockets, and needs no runtime. A turn reads a
//! piece from each socket that has something, numbers all that came, and writes it to all workers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::link::{Heard, Link};
use super::numbers::NumberStore;
use super::orders::Order;
use super::peer::PeerId;
use super::settings::Settings;
use super::sockets::{self, Reading, Sockets};
use super::state::Hub;
use crate::base::open_files::raise_limit;
use crate::base::stats::StatsHandle;
use crate::metrics;

/// Pieces that are read from a worker's connection when the worker has ended: more than a socket holds.
const LAST_READS: usize = 1024;

/// Open files that are enough for thousands of workers and outsiders. The soft limit is raised to it, if the hard one allows.
const FILES: u64 = 4096;

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

/// A hub with its sockets.
pub struct Driver {
    link: Link,
    interrupted: UnixStream,
    /// Until the supervisor has said how the hub begins.
    waiting: Option<(NumberStore, Settings)>,
    hub: Option<Hub>,
    sockets: Sockets,
    /// The process numbers of the workers whose connections these are.
    workers: BTreeMap<PeerId, u32>,
    /// Those on which metrics are served.
    metrics: Option<metrics::Sockets>,
    /// Where the hub counts what outsiders publish.
    stats: StatsHandle,
    /// The hub has to end then.
    stop_at: Option<Instant>,
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
        let mut driver = Driver {
            link: Link::new(link)?,
            interrupted,
            waiting: Some((numbers, settings)),
            hub: None,
            sockets: Sockets::new(publish, raise_limit(FILES).unwrap_or(u64::MAX))?,
            workers: BTreeMap::new(),
            metrics: None,
            stats: StatsHandle::default(),
            stop_at: None,
        };
        driver.link.tell("ready")?;
        Ok((driver, Interrupt(sender)))
    }

    /// Serves metrics, too. Before [`Driver::run`].
    pub fn serve_metrics(&mut self, sockets: metrics::Sockets) {
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
            if let Some(hub) = self.hub.as_mut().filter(|_| ready.peers.publish) {
                self.sockets.accept(hub, now);
            }
            ready.peers.readable.into_iter().for_each(|id| _ = self.read(id));
            for id in ready.peers.writable {
                self.sockets.unblock(id);
                self.hub.iter_mut().for_each(|hub| hub.unblock(id));
            }
            self.metrics.iter_mut().for_each(|metrics| metrics.turn(&ready.metrics, now));
            // After reading: if this process was paused, it must not find those silent that have sent something meanwhile.
            self.hub.iter_mut().for_each(|hub| hub.tick(now, system));
            self.write();
            if self.has_ended() {
                self.finish_metrics();
                return Ok(Outcome::Ended);
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> io::Result<Ready> {
        let now = Instant::now();
        let mut polled =
            vec![PollFd::new(&self.link, self.link.flags()), PollFd::new(&self.interrupted, PollFlags::IN)];
        self.metrics.iter().for_each(|metrics| metrics.add_to(&mut polled, now));
        let peers_at = polled.len();
        self.sockets.add_to(&mut polled, self.hub.as_ref(), now);
        let timeout = self.timeout(now);
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events: Vec<_> = polled.iter().map(PollFd::revents).collect();
        Ok(Ready {
            link: !events[0].is_empty(),
            interrupted: !events[1].is_empty(),
            metrics: events[2..peers_at].to_vec(),
            peers: self.sockets.ready(&events[peers_at..]),
        })
    }

    /// How long to wait if nothing happens.
    fn timeout(&self, now: Instant) -> Duration {
        let serves_metrics = self.metrics.as_ref().is_some_and(|metrics| !metrics.is_idle(now));
        match &self.hub {
            Some(hub) if hub.has_writers() => Duration::ZERO,
            Some(hub) if !hub.is_idle() || self.sockets.pauses(now) || self.stop_at.is_some() => TICK,
            _ if serves_metrics => TICK,
            _ => IDLE,
        }
    }

    // ---- the supervisor ----------------------------------------------------------------------

    /// The supervisor makes another connection to this worker, unless it has ended.
    fn tell_lost(&mut self, process: u32) {
        // An error means that the supervisor is gone or does not read: the next turn sees it.
        let _ = self.link.tell(&format!("lost {process}"));
    }

    /// The supervisor need not be told when the present connection of this worker ends.
    fn forget(&mut self, process: u32) {
        self.workers.retain(|_, worker| *worker != process);
    }

    /// Takes what the supervisor has told. Returns false if the supervisor is gone.
    fn take_orders(&mut self) -> io::Result<bool> {
        if self.link.flush().is_err() {
            return Ok(false);
        }
        loop {
            match self.link.hear()? {
                Heard::Order(order) => self.carry_out(order)?,
                Heard::Nothing => return Ok(true),
                Heard::Gone => return Ok(false),
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> io::Result<()> {
        match (order, &mut self.hub) {
            (Order::Ping(number), _) => return self.link.tell(&format!("pong {number}")),
            (Order::Stop, _) => self.stop_at = Some(Instant::now() + LAST_WRITES),
            (Order::Start(start, old), None) => {
                let Some((numbers, settings)) = self.waiting.take() else { return Ok(()) };
                let mut hub = Hub::new(settings, numbers, start, Instant::now());
                hub.count_in(self.stats.clone());
                if let Some(old) = old {
                    let id = hub.connect_old_hub();
                    self.sockets.add(id, old);
                }
                self.hub = Some(hub);
            }
            (Order::Worker(process, Some(socket)), Some(hub)) => {
                let id = hub.connect_worker(process);
                self.forget(process);
                self.sockets.add(id, socket);
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
                self.sockets.add(id, socket);
            }
            _ => log::error!("the supervisor has given the hub an order at the wrong time"),
        }
        Ok(())
    }

    // ---- peers -------------------------------------------------------------------------------

    /// Reads once. Returns false if there is no more.
    fn read(&mut self, id: PeerId) -> bool {
        let Some(hub) = &mut self.hub else { return false };
        let reading = self.sockets.read(id, hub);
        if reading == Reading::Ended {
            hub.gone(id);
            self.disconnect(id);
        }
        reading == Reading::More
    }

    /// Writes what waits for peers, as far as their sockets take it.
    fn write(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        hub.end_turn();
        self.sockets.write(hub);
        while let Some(id) = self.hub.as_mut().and_then(Hub::next_closed) {
            self.disconnect(id);
        }
    }

    fn disconnect(&mut self, id: PeerId) {
        self.sockets.remove(id);
        if let Some(process) = self.workers.remove(&id) {
            self.tell_lost(process);
        }
    }

    /// Clients that are asking for metrics get their responses. Others ask the next hub. Meanwhile, this one has no peers any
    /// more.
    fn finish_metrics(&mut self) {
        if let Some(mut metrics) = self.metrics.take() {
            self.hub = None;
            self.sockets.close();
            metrics.finish(Instant::now() + LAST_WRITES);
        }
    }

    fn has_ended(&self) -> bool {
        let Some(hub) = &self.hub else { return self.stop_at.is_some() };
        let stopped = self.stop_at.is_some_and(|at| hub.is_flushed() || at <= Instant::now());
        stopped || hub.has_left()
    }
}

/// What has happened.
struct Ready {
    link: bool,
    interrupted: bool,
    metrics: Vec<PollFlags>,
    peers: sockets::Ready,
}
