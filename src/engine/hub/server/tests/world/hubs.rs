//! What happens to hubs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::super::roll::LINGER;
use super::super::wire::Wire;
use super::World;
use super::living::{Living, close, read, write};
use crate::engine::hub::server::peer::Peer;
use crate::engine::hub::server::state::Phase;
use crate::engine::hub::server::{Hub, PeerId, Settings, Start};

impl World {
    pub(super) fn hub_reads(&mut self) {
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

    pub(super) fn hub_writes(&mut self) {
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

    pub(in crate::engine::hub::server::tests) fn pass_time(&mut self, time: Duration) {
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

    pub(super) fn start_hub(&mut self, start: Start) {
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
    pub(super) fn introduce(&mut self, index: usize) {
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

    pub(super) fn connect_outsider(&mut self, index: usize) {
        let Some(living) = &mut self.hub else { return };
        let mut wire = Wire::default();
        let outsider = &mut self.outsiders[index];
        outsider.author.hello(&mut wire);
        self.wires.push(wire);
        outsider.wire = Some(self.wires.len() - 1);
        let id = living.hub.connect_outsider();
        living.wires.insert(id, self.wires.len() - 1);
    }

    pub(super) fn kill_hub(&mut self) {
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

    pub(super) fn end_of_hub(&mut self, living: Living) {
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

    pub(super) fn start_again(&mut self) {
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

    pub(super) fn told(&self) -> BTreeSet<u32> {
        let workers = self.workers.iter().filter(|worker| worker.connected).map(|worker| worker.process);
        workers.chain(self.dead.iter().copied()).collect()
    }

    pub(super) fn hand_over(&mut self) {
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
