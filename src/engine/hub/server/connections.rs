//! Connections of peers begin and end.

use std::mem;

use super::super::author;
use super::peer::{Absent, Kind, Peer, PeerId};
use super::report::Report;
use super::state::{Hub, Phase};

impl Hub {
    /// A worker has a connection.
    pub fn connect_worker(&mut self, process: u32) -> PeerId {
        self.routes.expect([process]);
        self.connect(Kind::Worker(process))
    }

    /// An outsider has a connection.
    pub fn connect_outsider(&mut self) -> PeerId {
        self.connect(Kind::Outsider)
    }

    /// A connection on which the hub before sends its report.
    pub fn connect_old_hub(&mut self) -> PeerId {
        let peer = self.connect(Kind::OldHub);
        self.with(peer, |peer| peer.report = Some(Report::default()));
        peer
    }

    fn connect(&mut self, kind: Kind) -> PeerId {
        self.next_peer += 1;
        if let Kind::Worker(process) = kind {
            self.processes.insert(process);
        }
        self.peers.insert(self.next_peer, Peer::new(kind, self.now.0));
        self.next_peer
    }

    /// A connection on which the hub that takes this one's place gets the report. From now on this hub numbers nothing. It
    /// may end when [`Hub::has_left`] says so.
    pub fn hand_over(&mut self) -> PeerId {
        let peer = self.connect(Kind::NewHub);
        self.phase = Phase::Leaving;
        self.stage_report(peer);
        self.list(peer);
        peer
    }

    /// Whether the other hub has the whole report, or has gone.
    pub fn has_left(&self) -> bool {
        let waits = |peer: &Peer| peer.kind == Kind::NewHub && (peer.image.is_some() || peer.staged_bytes() > 0);
        matches!(self.phase, Phase::Leaving) && !self.peers.values().any(waits)
    }

    /// Whether each worker that takes bytes has got all.
    pub fn is_flushed(&self) -> bool {
        let waits = |peer: &Peer| {
            let behind = peer.attached().is_some_and(|place| self.tail.bytes_after(place.staged) > 0);
            peer.image.is_some() || peer.staged_bytes() > 0 || behind
        };
        !self.peers.values().any(|peer| !peer.blocked && waits(peer))
    }

    /// The peer's connection has ended. The driver forgets it.
    pub fn gone(&mut self, id: PeerId) {
        self.take_input(id);
        let Some(peer) = self.peers.remove(&id) else { return };
        self.part(id, &peer);
        if peer.listed {
            // The driver does not wait while a peer is on the list.
            self.writers.retain(|listed| *listed != id);
        }
        self.workers.remove(&id);
        self.waiting.remove(&id);
        self.welcomed_later.remove(&id);
        if let Some(hello) = peer.hello {
            self.authors.leave(hello.author, id);
            if let Some(oldest) = peer.oldest_unanswered().or_else(|| self.first_unseen(&peer)) {
                let process = if let Kind::Worker(process) = peer.kind { Some(process) } else { None };
                let until = self.now.0 + self.settings.absence;
                self.absent.insert(author::process_of(hello.author), Absent { oldest, until, process });
            }
        }
        if let Some(place) = peer.place {
            self.numbers.detach(place.slot, place.staged);
        }
        match (&mut self.phase, peer.kind) {
            (Phase::Recovering { handover, .. }, Kind::OldHub) => {
                if mem::take(handover) {
                    log::warn!("the hub before gave no complete report: this hub asks the workers");
                }
                self.ask_for_reports();
                self.finish_recovery();
            }
            // It may come back. The supervisor says if it does not: see `lose`.
            _ => self.progress(),
        }
    }

    /// The connections of a worker: more than one while the end of an older one has not come.
    pub fn connections_of(&self, process: u32) -> Vec<PeerId> {
        let own = self.peers.iter().filter(|(_, peer)| peer.kind == Kind::Worker(process));
        own.map(|(id, _)| *id).collect()
    }

    /// The supervisor says that a worker's process has ended. The driver has read all that its connections had.
    pub fn lose(&mut self, process: u32) {
        self.end_process(process);
        self.routes.end(process);
        let absent = self.absent.len();
        self.absent.retain(|_, absent| absent.process != Some(process));
        if self.returning.0.remove(&process) || self.absent.len() < absent {
            self.progress();
        }
        if let Phase::Recovering { expected, .. } = &mut self.phase {
            expected.remove(&process);
            self.finish_recovery();
        }
    }
}
