mod living;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use self::living::{Living, close, read, write};
use super::author::Author;
use super::roll::{LINGER, Roll};
use super::truth::Truth;
use super::wire::Wire;
use super::worker::Worker;
use crate::engine::hub::protocol::Position;
use crate::engine::hub::server::peer::Peer;
use crate::engine::hub::server::state::Phase;
use crate::engine::hub::server::{Hub, NumberStore, PeerId, Settings, Start};

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

    // ---- the hub -----------------------------------------------------------------------------

    fn hub_reads(&mut self) {
        let most = self.random.usize(1..1500);
        let turns = self.random.usize(1..4);
        for _ in 0..turns {
            let Some(living) = &mut self.hub else { return };
            let Some((id, wire)) = pick(&mut self.random, &living.wires) else { return };
            let ended = read(living, &mut self.wires[wire], id, most);
            if ended {
                living.wires.remove(&id);
            }
        }
        // The hub may die between what it takes and the end of the turn.
        if self.random.u32(..100) == 0 {
            return self.kill_hub();
        }
        let Some(living) = &mut self.hub else { return };
        living.hub.end_turn();
        close(living, &mut self.wires);
    }

    fn hub_writes(&mut self) {
        let turns = self.random.usize(1..6);
        for _ in 0..turns {
            let most = if self.random.bool() { usize::MAX } else { self.random.usize(1..200) };
            let Some(living) = &mut self.hub else { return };
            write(living, &mut self.wires, most);
        }
        if let Some((mut living, wire)) = self.old.take() {
            write(&mut living, &mut self.wires, usize::MAX);
            if living.hub.has_left() {
                // What it has for others is lost with it.
                self.end_of_hub(living);
                self.wires[wire].hub_closed = true;
            } else {
                self.old = Some((living, wire));
            }
        }
    }

    pub(super) fn pass_time(&mut self, time: Duration) {
        self.note_commands();
        self.now += time;
        let now = self.now;
        if let Some(living) = &mut self.hub {
            let (before, waiting) = (living.hub.is_serving(), awaited(&living.hub));
            living.hub.tick(now, SystemTime::now());
            close(living, &mut self.wires);
            if !before && living.hub.is_serving() || waiting > awaited(&living.hub) {
                // Somebody was silent for too long.
                self.hurt = true;
            }
        }
    }

    fn start_hub(&mut self, start: Start) {
        let settings = Settings {
            // Little, so that the log does not reach back far.
            recent: 4 << 10,
            worker_credit: 700,
            outsider_credit: 300,
            stuck_bytes: 800,
            floors: 2,
            absence: Duration::from_secs(1000),
            absence_bytes: usize::MAX,
            linger: LINGER,
            ..Settings::default()
        };
        self.say(|| format!("a hub begins: {start:?}"));
        let hub = Hub::new(settings, self.numbers.clone(), start, self.now);
        self.hub = Some(Living { hub, wires: BTreeMap::new(), before: None, noted: false });
        self.hubs += 1;
        (0..self.workers.len()).for_each(|index| self.introduce(index));
    }

    /// The supervisor connects a worker with the hub.
    fn introduce(&mut self, index: usize) {
        let Some(living) = &mut self.hub else { return };
        let worker = &mut self.workers[index];
        self.wires.push(Wire::default());
        let wire = self.wires.len() - 1;
        let id = living.hub.connect_worker(worker.process);
        living.wires.insert(id, wire);
        worker.connected = true;
        if let Some(unused) = worker.next.replace(wire) {
            self.wires[unused].peer_closed = true;
        }
    }

    fn connect_outsider(&mut self, index: usize) {
        let Some(living) = &mut self.hub else { return };
        let mut wire = Wire::default();
        let outsider = &mut self.outsiders[index];
        outsider.author.hello(&mut wire);
        self.wires.push(wire);
        outsider.wire = Some(self.wires.len() - 1);
        let id = living.hub.connect_outsider();
        living.wires.insert(id, self.wires.len() - 1);
    }

    fn kill_hub(&mut self) {
        self.note_commands();
        if let Some((old, _)) = self.old.take() {
            self.end_of_hub(old);
            if self.random.bool() {
                return;
            }
        }
        if let Some(living) = self.hub.take() {
            // If no worker has its log and takes messages, it alone has some.
            self.only_there = self.only_there.max(living.hub.only_here);
            let least = self.only_there;
            let whole = |peer: &Peer| peer.attached().is_some_and(|place| place.sent >= place.base.max(least));
            self.hurt |= !living.hub.peers.values().any(whole);
            self.end_of_hub(living);
        }
    }

    fn end_of_hub(&mut self, living: Living) {
        let hub = &living.hub;
        self.say(|| format!("a hub ends: {:?}, stable {}, answerable {}", hub.position(), hub.stable, hub.answerable));
        for peer in hub.peers.values().filter(|peer| peer.place.is_some()) {
            self.say(|| format!("  {} has {:?}, blocked {}", peer.kind, peer.place, peer.blocked));
        }
        for worker in &self.workers {
            self.say(|| format!("  worker {} at {:?}, stopped {}", worker.process, worker.position, worker.stopped));
        }
        for wire in living.wires.into_values() {
            self.wires[wire].hub_closed = true;
            self.wires[wire].to_hub.clear();
        }
    }

    fn start_again(&mut self) {
        if self.hub.is_some() {
            return;
        }
        let processes = self.told();
        if self.workers.iter().all(|worker| worker.position.is_none()) {
            // Nobody but the hub had the log.
            self.hurt = true;
        }
        self.start_hub(Start::Recover { processes, handover: false });
    }

    fn told(&self) -> BTreeSet<u32> {
        let workers = self.workers.iter().filter(|worker| worker.connected).map(|worker| worker.process);
        workers.chain(self.dead.iter().copied()).collect()
    }

    fn hand_over(&mut self) {
        let serving = self.hub.as_ref().is_some_and(|living| living.hub.is_serving());
        if !serving || self.old.is_some() {
            return;
        }
        self.note_commands();
        let Some(mut old) = self.hub.take() else { return };
        self.only_there = self.only_there.max(old.hub.only_here);
        let processes = self.told();
        self.wires.push(Wire::default());
        let wire = self.wires.len() - 1;
        let id = old.hub.hand_over();
        old.wires.insert(id, wire);
        self.old = Some((old, wire));
        self.start_hub(Start::Recover { processes, handover: true });
        let Some(living) = &mut self.hub else { return };
        let id = living.hub.connect_old_hub();
        living.wires.insert(id, wire);
        living.before = Some(id);
    }

    // ---- workers -----------------------------------------------------------------------------

    fn start_worker(&mut self) {
        if self.workers.len() < 4 {
            self.processes += 1;
            self.workers.push(Worker::new(self.processes));
            self.introduce(self.workers.len() - 1);
        }
    }

    fn kill_worker(&mut self) {
        let index = self.random.usize(..self.workers.len());
        let worker = self.workers.remove(index);
        self.say(|| format!("the worker {} dies at {:?}", worker.process, worker.position));
        for wire in worker.wire.into_iter().chain(worker.next) {
            self.wires[wire].peer_closed = true;
            self.wires[wire].to_peer.clear();
        }
        self.dead.push(worker.process);
        if self.random.bool() {
            self.reap();
        }
        self.resets += worker.resets;
        self.hurt = true;
        if self.workers.is_empty() {
            self.start_worker();
        }
    }

    /// The supervisor tells the hub of workers that have died.
    fn reap(&mut self) {
        for process in std::mem::take(&mut self.dead) {
            let Some(living) = &mut self.hub else { continue };
            for id in living.hub.connections_of(process) {
                // The driver does the same.
                if let Some(wire) = living.wires.remove(&id) {
                    read(living, &mut self.wires[wire], id, usize::MAX);
                }
                living.hub.gone(id);
            }
            living.hub.lose(process);
        }
    }

    fn stop_worker(&mut self) {
        let index = self.random.usize(..self.workers.len());
        self.workers[index].stopped = true;
    }

    fn continue_worker(&mut self) {
        let index = self.random.usize(..self.workers.len());
        self.workers[index].stopped = false;
    }

    fn restart_outsider(&mut self) {
        let index = self.random.usize(..self.outsiders.len());
        let outsider = &mut self.outsiders[index];
        let Some(wire) = outsider.wire else { return };
        if self.random.bool() {
            // It dies, and another one begins.
            self.wires[wire].peer_closed = true;
            self.born += 1;
            *outsider = Outsider { author: Author::new(self.born), wire: None };
        } else if let Some(living) = &mut self.hub
            && let Some(id) = living.wires.iter().find(|(_, own)| **own == wire).map(|(id, _)| *id)
        {
            // The hub closes the connection: what it has written still arrives.
            living.hub.gone(id);
            living.wires.remove(&id);
            self.wires[wire].hub_closed = true;
        }
    }
}

/// How many workers the hub waits for.
fn awaited(hub: &Hub) -> usize {
    let expected = match &hub.phase {
        Phase::Recovering { expected, .. } => expected.len(),
        _ => 0,
    };
    expected + hub.returning.0.len()
}

fn pick(random: &mut fastrand::Rng, wires: &BTreeMap<PeerId, usize>) -> Option<(PeerId, usize)> {
    let index = if wires.is_empty() { return None } else { random.usize(..wires.len()) };
    wires.iter().nth(index).map(|(id, wire)| (*id, *wire))
}
