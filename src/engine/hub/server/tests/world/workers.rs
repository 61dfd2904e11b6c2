//! What happens to workers and outsiders.

use super::super::author::Author;
use super::super::worker::Worker;
use super::living::read;
use super::{Outsider, World};

impl World {
    pub(super) fn start_worker(&mut self) {
        if self.workers.len() < 4 {
            self.processes += 1;
            self.workers.push(Worker::new(self.processes));
            self.introduce(self.workers.len() - 1);
        }
    }

    pub(super) fn kill_worker(&mut self) {
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
    pub(super) fn reap(&mut self) {
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

    pub(super) fn stop_worker(&mut self) {
        let index = self.random.usize(..self.workers.len());
        self.workers[index].stopped = true;
    }

    pub(super) fn continue_worker(&mut self) {
        let index = self.random.usize(..self.workers.len());
        self.workers[index].stopped = false;
    }

    pub(super) fn restart_outsider(&mut self) {
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
