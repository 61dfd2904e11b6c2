mod hubs;
mod living;
mod turns;
mod workers;

use std::time::{Duration, Instant};

use self::living::Living;
use super::author::Author;
use super::roll::Roll;
use super::truth::Truth;
use super::wire::Wire;
use super::worker::Worker;
use crate::engine::hub::protocol::Position;
use crate::engine::hub::server::{NumberStore, Start};

/// An outsider.
struct Outsider {
    author: Author,
    wire: Option<usize>,
}

/// Hubs, workers and outsiders, and a seeded scheduler.
pub(super) struct World {
    random: fastrand::Rng,
    numbers: NumberStore,
    now: Instant,
    hub: Option<Living>,
    /// The hub that hands its log over, with its end of the connection.
    old: Option<(Living, usize)>,
    workers: Vec<Worker>,
    outsiders: Vec<Outsider>,
    processes: u32,
    born: u128,
    wires: Vec<Wire>,
    truth: Truth,
    roll: Roll,
    /// Workers that have died, of which the supervisor does not know yet.
    dead: Vec<u32>,
    epoch: Option<u64>,
    /// A worker has died or was silent since the log was whole last.
    hurt: bool,
    /// Messages up to this number were answered by a hub that is gone, when no worker was attached to it.
    only_there: u64,
    /// Says what happens.
    loud: bool,
    hubs: usize,
    resets: usize,
    epochs: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let numbers = NumberStore::anonymous().unwrap();
        let now = Instant::now();
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            hub: None,
            old: None,
            numbers,
            now,
            workers: Vec::new(),
            outsiders: (1..3).map(|number| Outsider { author: Author::new(number), wire: None }).collect(),
            processes: 0,
            born: 10,
            wires: Vec::new(),
            truth: Truth::default(),
            roll: Roll::default(),
            dead: Vec::new(),
            epoch: None,
            hurt: false,
            only_there: 0,
            loud: std::env::var_os("PUSH_SERVER_SCHEDULE").is_some(),
            hubs: 0,
            resets: 0,
            epochs: 0,
        };
        world.start_hub(Start::First);
        (0..3).for_each(|_| world.start_worker());
        world
    }

    pub(super) fn summary(&self) -> (usize, usize, usize, usize) {
        (self.truth.answers() + self.roll.count(), self.hubs, self.resets, self.epochs)
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.loud {
            println!("{}", text());
        }
    }

    // ---- steps -------------------------------------------------------------------------------

    pub(super) fn step(&mut self) {
        self.any_step();
        self.note_commands();
    }

    fn any_step(&mut self) {
        if self.random.u32(..20) == 0 {
            self.reap();
        }
        match self.random.u32(..1000) {
            0..150 => self.publish(),
            150..300 => self.pump(),
            300..500 => self.hub_reads(),
            500..700 => self.hub_writes(),
            700..900 => self.peer_reads(),
            900..930 => self.pass_time(Duration::from_millis(300)),
            930..945 => self.kill_hub(),
            945..965 => self.start_again(),
            965..975 => self.kill_worker(),
            975..980 => self.stop_worker(),
            980..988 => self.continue_worker(),
            988..992 => self.hand_over(),
            992..996 => self.restart_outsider(),
            _ => self.start_worker(),
        }
    }

    fn publish(&mut self) {
        let messages = self.random.usize(1..6);
        let index = self.random.usize(..self.workers.len() + self.outsiders.len());
        match self.workers.get_mut(index) {
            Some(worker) if worker.stopped || worker.unsettled() > 40 => {}
            Some(worker) if self.random.u32(..3) == 0 => {
                (0..messages).for_each(|_| worker.change_member(&mut self.random));
            }
            Some(worker) => (0..messages).for_each(|_| worker.publish()),
            None => {
                let author = &mut self.outsiders[index - self.workers.len()].author;
                if author.unsettled.len() < 40 {
                    (0..messages).for_each(|_| author.publish());
                }
            }
        }
    }

    fn pump(&mut self) {
        let most = self.random.usize(1..8);
        let index = self.random.usize(..self.workers.len() + self.outsiders.len());
        match self.workers.get_mut(index) {
            Some(worker) if worker.stopped => {}
            Some(worker) => {
                if let Some(wire) = worker.wire {
                    worker.pump(&mut self.wires[wire], 100 * most);
                }
            }
            None => {
                let outsider = &mut self.outsiders[index - self.workers.len()];
                match outsider.wire {
                    Some(wire) => outsider.author.pump(&mut self.wires[wire], most),
                    None => self.connect_outsider(index - self.workers.len()),
                }
            }
        }
    }

    fn peer_reads(&mut self) {
        let most = self.random.usize(1..900);
        let index = self.random.usize(..self.workers.len() + self.outsiders.len());
        if index < self.workers.len() { self.worker_reads(index, most) } else { self.outsider_reads(index, most) }
    }

    fn worker_reads(&mut self, index: usize, most: usize) {
        let worker = &mut self.workers[index];
        if worker.stopped {
            return;
        }
        if let Some(wire) = worker.wire {
            if !worker.read(&mut self.wires[wire], most, &mut self.truth) {
                self.wires[wire].peer_closed = true;
                worker.wire = None;
            }
        } else if let Some(next) = worker.next.take() {
            worker.wire = Some(next);
            worker.connect();
        }
        let worker = &self.workers[index];
        let position = worker.position;
        if let Some(Position { epoch, last }) = position {
            self.roll.check(epoch, last, &worker.members);
        }
        self.note_epoch(position);
        let Some(living) = self.hub.as_ref().filter(|living| living.hub.is_serving()) else { return };
        let (end, ended) = (Some(living.hub.position()), |wire: &usize| self.wires[*wire].peer_closed);
        // A worker that has died may have got whatever the hub has tried to send before it noticed.
        if self.workers.iter().all(|worker| worker.position == end) && !living.wires.values().any(ended) {
            self.hurt = false;
        }
    }

    fn outsider_reads(&mut self, index: usize, most: usize) {
        let outsider = &mut self.outsiders[index - self.workers.len()];
        let Some(wire) = outsider.wire else { return };
        let (author, truth) = (&mut outsider.author, &mut self.truth);
        if !self.wires[wire].read_by_peer(most, |frame| author.take(&frame, truth)) {
            self.wires[wire].peer_closed = true;
            outsider.wire = None;
        }
    }

    /// The epoch changes only if a hub and a worker have died.
    fn note_epoch(&mut self, position: Option<Position>) {
        let Some(Position { epoch, .. }) = position else { return };
        let Some(living) = self.hub.as_ref().filter(|living| living.hub.is_serving()) else { return };
        if epoch == living.hub.position().epoch && self.epoch != Some(epoch) {
            self.say(|| format!("a new epoch: {position:?}"));
            assert!(self.epoch.is_none() || self.hurt, "a new epoch, although no worker was lost");
            self.epoch = Some(epoch);
            self.epochs += 1;
        }
    }

    /// What the hub has numbered, and the members that it has.
    fn note_commands(&mut self) {
        let Some(living) = self.hub.as_mut().filter(|living| living.hub.is_serving()) else { return };
        let Position { epoch, last } = living.hub.position();
        if !std::mem::replace(&mut living.noted, true) {
            self.roll.begin(epoch, living.hub.began);
        }
        for (seq, command) in std::mem::take(&mut living.hub.commands) {
            self.roll.add(seq, self.now, command);
        }
        self.roll.check(epoch, last, &living.hub.members);
    }
}
