//! Turns that are not random: the end of a schedule, and the steps of those that a test writes down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::author::Author;
use super::super::roll::{LINGER, table};
use super::living::{close, read, write};
use super::{Worker, World};
use crate::engine::hub::server::Hub;

/// The time of a turn.
const TURN: Duration = Duration::from_millis(100);

impl World {
    /// Everybody goes on until nothing moves any more. Then each worker has all.
    pub(in super::super) fn finish(&mut self) {
        self.start_again();
        self.reap();
        self.workers.iter_mut().for_each(|worker| worker.stopped = false);
        let mut quiet = 0;
        for _ in 0..2000 {
            quiet = if self.is_quiet() { quiet + 1 } else { 0 };
            if quiet > 3 {
                break;
            }
            self.turn();
        }
        // Members without clients leave.
        let turns = 1 + LINGER.as_millis() / TURN.as_millis();
        self.turns(turns as usize + 5);
        self.check();
    }

    /// Everybody goes on for a while, except workers that are stopped.
    pub(in super::super) fn turns(&mut self, turns: usize) {
        (0..turns).for_each(|_| self.turn());
    }

    fn turn(&mut self) {
        for index in 0..self.workers.len() {
            self.pump_worker(index);
            self.worker_reads(index, usize::MAX);
        }
        for index in 0..self.outsiders.len() {
            match self.outsiders[index].wire {
                Some(wire) => self.outsiders[index].author.pump(&mut self.wires[wire], 100),
                None => self.connect_outsider(index),
            }
            self.outsider_reads(self.workers.len() + index, usize::MAX);
        }
        for _ in 0..3 {
            self.hub_writes();
        }
        if let Some(living) = &mut self.hub {
            for (id, wire) in living.wires.clone() {
                if read(living, &mut self.wires[wire], id, usize::MAX) {
                    living.wires.remove(&id);
                }
            }
            living.hub.end_turn();
            close(living, &mut self.wires);
            while write(living, &mut self.wires, usize::MAX) {}
        }
        self.pass_time(TURN);
        self.note_commands();
    }

    /// A worker writes all that it may.
    fn pump_worker(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if let Some(wire) = worker.wire.filter(|_| !worker.stopped) {
            worker.pump(&mut self.wires[wire], 100_000);
        }
    }

    /// A worker publishes, and writes as much of it as it may, but reads nothing.
    pub(in super::super) fn publish_blindly(&mut self, index: usize, messages: usize) {
        (0..messages).for_each(|_| self.workers[index].publish());
        let stopped = std::mem::take(&mut self.workers[index].stopped);
        self.pump_worker(index);
        self.workers[index].stopped = stopped;
    }

    /// Clients of a worker become members. It writes that, but reads nothing.
    pub(in super::super) fn join_blindly(&mut self, index: usize, clients: usize) {
        (0..clients).for_each(|_| self.workers[index].come("a"));
        self.publish_blindly(index, 0);
    }

    /// A worker stops, or continues.
    pub(in super::super) fn stop(&mut self, index: usize, stopped: bool) {
        self.workers[index].stopped = stopped;
    }

    /// The hub dies, and another one begins.
    pub(in super::super) fn restart_hub(&mut self) {
        self.kill_hub();
        self.start_again();
    }

    /// The hub.
    pub(in super::super) fn living(&self) -> &Hub {
        &self.hub.as_ref().unwrap().hub
    }

    /// Whether nobody waits for anything.
    fn is_quiet(&self) -> bool {
        let end = self.hub.as_ref().filter(|living| living.hub.is_serving()).map(|living| living.hub.position());
        let settled = |author: &Author| author.welcome && author.unsettled.is_empty();
        let ended = |worker: &Worker| {
            let epoch = worker.position.map(|position| position.epoch);
            epoch == end.map(|end| end.epoch) && worker.is_ready() && worker.unsettled() == 0
        };
        let written = self.wires.iter().all(|wire| wire.peer_closed || wire.hub_closed || wire.to_peer.is_empty());
        let settled = self.outsiders.iter().all(|outsider| outsider.wire.is_some() && settled(&outsider.author));
        end.is_some() && settled && written && self.workers.iter().all(ended)
    }

    fn check(&self) {
        let living = self.hub.as_ref().unwrap();
        assert!(living.hub.is_serving());
        let position = living.hub.position();
        for worker in &self.workers {
            assert_eq!(worker.position, Some(position), "the log ends behind the worker {}", worker.process);
            worker.check(position, &self.truth, &self.roll);
        }
        let clients = self.workers.iter().flat_map(|worker| &worker.clients);
        let clients: BTreeSet<_> = clients.map(|(client, (member, _))| (Arc::clone(member), *client)).collect();
        let members = table(&living.hub.members);
        let present = members.iter().flat_map(|((_, name), (_, own))| own.iter().map(|id| (Arc::clone(name), *id)));
        assert_eq!(present.collect::<BTreeSet<_>>(), clients, "the clients that there are");
        assert!(members.values().all(|(_, clients)| !clients.is_empty()), "members without clients: {members:?}");
        for outsider in &self.outsiders {
            assert_eq!(outsider.author.unsettled.len(), 0, "an outsider waits for answers");
        }
        for (seq, content) in self.truth.answered(position.epoch) {
            assert_eq!(self.truth.number(position.epoch, content), Some(seq));
        }
    }
}
