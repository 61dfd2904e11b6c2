//! The [`Hub`]: its state, and the methods of its driver.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Instant, SystemTime};

use super::super::protocol::{Frame, Position, decode};
use super::authors::Authors;
use super::numbers::NumberStore;
use super::peer::{Absent, Kind, Peer, PeerId};
use super::report::Report;
use super::routes::Routes;
use super::rules::Rules;
use super::settings::{Settings, Start};
use super::tail::Tail;
use crate::base::stats::StatsHandle;
#[cfg(test)]
use crate::channel::Command;
use crate::channel::{Archive, Epoch, Limits, Members};

/// What the hub does.
#[derive(Debug)]
pub(super) enum Phase {
    /// It collects reports.
    Recovering {
        /// Workers that have not reported yet.
        expected: BTreeSet<u32>,
        /// Workers that have nothing of the log: no client has got any of it from them.
        empty: BTreeSet<u32>,
        /// The hub before has not given its log yet.
        handover: bool,
        /// The reports that are complete: the worker's process number, or `None` for the hub before.
        reports: Vec<(Option<u32>, Report)>,
        /// How often in a row the hub has heard nothing of a worker.
        silent: BTreeMap<u32, u32>,
    },
    /// It numbers messages.
    Serving,
    /// Another hub takes its place. It takes no frames.
    Leaving,
}

/// The hub as a state machine: bytes in, bytes out, no socket and no clock.
///
/// The driver calls [`Hub::receive`] with what came, then [`Hub::end_turn`], and then [`Hub::flush`] for each peer that
/// [`Hub::next_writer`] names. It calls [`Hub::tick`] a few times a second. It closes the sockets that
/// [`Hub::next_closed`] names.
pub struct Hub {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) numbers: NumberStore,
    pub(super) phase: Phase,
    pub(super) epoch: Epoch,
    /// The newest message's number. The log ends here.
    pub(super) last: u64,
    /// See [`Hub::count_in`].
    pub(super) stats: StatsHandle,
    /// The highest number that may be in use: messages may have been lost with a hub before any worker got them.
    pub(super) used: u64,
    /// Messages up to this number may be answered.
    pub(super) answerable: u64,
    /// Workers were told that there are entries up to this number.
    pub(super) offered: u64,
    /// Messages up to this number are stable.
    pub(super) stable: u64,
    pub(super) tail: Tail,
    pub(super) archive: Archive,
    /// The members at the end of the log.
    pub(super) members: Members,
    /// The workers that have not ended.
    pub(super) processes: BTreeSet<u32>,
    pub(super) rules: Rules,
    pub(super) authors: Authors,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) next_peer: PeerId,
    pub(super) routes: Routes,
    /// The peers that are workers.
    pub(super) workers: BTreeSet<PeerId>,
    /// Workers of the hub before that have not come yet, and until when the hub waits for them. Without them, this hub alone
    /// might have a message that it answers.
    pub(super) returning: (BTreeSet<u32>, Instant),
    /// The outsiders that wait for answers.
    pub(super) waiting: BTreeSet<PeerId>,
    /// Outsiders that are not welcome yet, because the welcome would be the answer to a message that may not be answered yet.
    pub(super) welcomed_later: BTreeSet<PeerId>,
    /// The authors that went away before they were answered.
    pub(super) absent: HashMap<u128, Absent>,
    /// The peers that have published since the last turn.
    pub(super) publishers: Vec<PeerId>,
    /// Peers that may have something to write.
    pub(super) writers: VecDeque<PeerId>,
    closed: Vec<PeerId>,
    /// Both clocks, at the last call that was given the time.
    pub(super) now: (Instant, SystemTime),
    /// When the driver has looked for peers that are stuck.
    pub(super) looked: Instant,
    /// When the archive was swept.
    pub(super) swept: Instant,
    /// Bytes of frames of outsiders that are not complete.
    pub(super) incomplete: usize,
    /// Credit is held back, because workers lag.
    pub(super) withheld: bool,
    /// Messages up to this number were answered when no worker was attached.
    #[cfg(test)]
    pub(super) only_here: u64,
    /// Sockets have taken something since the last [`Hub::progress`].
    pub(super) moved: bool,
    /// How often [`Hub::progress`] has looked at all peers.
    #[cfg(test)]
    pub(super) looks: usize,
    /// Where the reported log ended.
    #[cfg(test)]
    pub(super) began: Option<u64>,
    /// The commands that this hub has numbered.
    #[cfg(test)]
    pub(super) commands: Vec<(u64, Command)>,
}

impl Hub {
    /// A hub. `numbers` are those of the hub before, if there was one.
    pub fn new(settings: Settings, numbers: NumberStore, start: Start, now: Instant) -> Self {
        let limits = Limits {
            log_bytes: settings.history,
            max_channels: settings.max_channels,
            max_name: settings.max_name,
            ..Limits::default()
        };
        let (epoch, last) = (Epoch::new(), numbers.last());
        let mut hub = Hub {
            settings,
            limits,
            numbers,
            phase: Phase::Serving,
            epoch,
            last,
            stats: StatsHandle::default(),
            used: last,
            answerable: last,
            offered: 0,
            stable: last,
            tail: Tail::new(last),
            archive: Archive::with_floors(epoch, last, limits, settings.floors),
            members: Members::new(true),
            processes: BTreeSet::new(),
            rules: Rules::default(),
            authors: Authors::default(),
            peers: BTreeMap::new(),
            next_peer: 0,
            routes: Routes::default(),
            workers: BTreeSet::new(),
            returning: (BTreeSet::new(), now),
            waiting: BTreeSet::new(),
            welcomed_later: BTreeSet::new(),
            absent: HashMap::new(),
            publishers: Vec::new(),
            writers: VecDeque::new(),
            closed: Vec::new(),
            now: (now, SystemTime::now()),
            looked: now,
            swept: now,
            incomplete: 0,
            withheld: false,
            #[cfg(test)]
            only_here: 0,
            moved: false,
            #[cfg(test)]
            looks: 0,
            #[cfg(test)]
            began: None,
            #[cfg(test)]
            commands: Vec::new(),
        };
        match start {
            Start::Recover { processes, handover } if hub.numbers.epoch().is_some() => {
                hub.returning.0.clone_from(&processes);
                hub.processes.clone_from(&processes);
                hub.routes.expect(processes.iter().copied());
                let (empty, silent, reports) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
                hub.phase = Phase::Recovering { expected: processes, empty, handover, reports, silent };
                hub.finish_recovery();
            }
            _ => hub.begin(epoch),
        }
        hub
    }

    /// From now on, what outsiders publish counts there. What workers publish counts with them.
    pub fn count_in(&mut self, stats: StatsHandle) {
        self.stats = stats;
    }

    /// Whether it numbers messages.
    pub fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    /// Whether it takes connections. Not when another hub takes its place.
    pub fn accepts(&self) -> bool {
        !matches!(self.phase, Phase::Leaving)
    }

    /// Where the log ends.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch.into(), last: self.last }
    }

    /// Sets the time.
    pub fn set_time(&mut self, now: Instant, system: SystemTime) {
        self.now = (now, system);
    }

    // ---- bytes -----------------------------------------------------------------------------

    /// Takes bytes of a peer.
    pub fn receive(&mut self, id: PeerId, bytes: &[u8]) {
        if matches!(self.phase, Phase::Leaving) {
            return;
        }
        let now = self.now.0;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.heard = now;
        let mut input = self.take_input(id);
        let taken = if input.is_empty() {
            self.take_frames(id, bytes).inspect(|taken| input.extend_from_slice(&bytes[*taken..]))
        } else {
            input.extend_from_slice(bytes);
            self.take_frames(id, &input).inspect(|taken| _ = input.drain(..*taken))
        };
        let taken = taken.and_then(|_| {
            let kept = self.keep_input(id, input);
            if kept { Ok(()) } else { Err("too much has come of frames that have no end".to_owned()) }
        });
        if let (Err(reason), Some(peer)) = (taken, self.peers.get(&id)) {
            log::warn!("the hub closes a connection of {}: {reason}", peer.kind);
            self.close(id);
        }
    }

    /// Takes the whole frames at the beginning of `bytes`. Returns their length.
    fn take_frames(&mut self, id: PeerId, bytes: &[u8]) -> Result<usize, String> {
        let mut taken = 0;
        let max = self.longest_frame(id);
        loop {
            let frame = decode(&bytes[taken..], max).map_err(|error| error.to_string())?;
            let Some((frame, length)) = frame else { return Ok(taken) };
            taken += length;
            self.take_frame(id, frame, length)?;
            if !self.peers.contains_key(&id) {
                return Ok(taken);
            }
        }
    }

    /// Bytes that one message may have in the form of the codec.
    pub(super) fn longest(&self) -> usize {
        self.settings.recent.clamp(64 << 10, 1 << 30)
    }

    fn take_frame(&mut self, id: PeerId, frame: Frame<'_>, length: usize) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        match frame {
            Frame::Publish { count, message } => self.publish(id, count, message, length),
            Frame::Command { count, command } => self.command(id, count, command),
            Frame::Hello { version, role, author, settled, commands, position } => {
                self.hello(id, version, role, super::peer::Hello { author, settled, commands, position })
            }
            Frame::Rules { generation, rules } if peer.kind != Kind::Outsider => {
                if self.rules.take(generation, &rules) {
                    self.rules.apply(&mut self.archive);
                }
                Ok(())
            }
            Frame::AskPosition { token } => {
                // An outsider has got the answers to its messages when it gets this one.
                let waits = !peer.welcomed || !peer.unanswered.is_empty();
                if waits && peer.questions.len() < 1024 {
                    peer.questions.push(token);
                } else {
                    let position = Position { epoch: self.epoch.into(), last: self.last };
                    peer.send(&Frame::Position { token, position });
                    self.list(id);
                }
                Ok(())
            }
            Frame::Relay { process, id: number, payload } => self.relay(id, process, number, payload),
            frame => self.take_report(id, frame),
        }
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, id: PeerId) {
        self.closed.push(id);
        self.gone(id);
    }

    /// The next connection that the driver must close.
    pub fn next_closed(&mut self) -> Option<PeerId> {
        self.closed.pop()
    }

    /// The next peer that may have something to write. When the sockets of all have taken what they take, others may be
    /// answered.
    pub fn next_writer(&mut self) -> Option<PeerId> {
        if self.writers.is_empty() && self.moved {
            self.progress();
        }
        let id = self.writers.pop_front()?;
        self.with(id, |peer| peer.listed = false);
        Some(id)
    }

    /// Whether [`Hub::next_writer`] has a peer.
    pub fn has_writers(&self) -> bool {
        !self.writers.is_empty() || self.moved
    }

    /// Whether nothing waits, so that [`Hub::tick`] may come once a second.
    pub fn is_idle(&self) -> bool {
        let behind = |peer: &Peer| peer.blocked || peer.place.as_ref().is_some_and(|place| !place.attached);
        let settled = self.tail.bytes_after(self.stable) == 0 && self.absent.is_empty() && self.returning.0.is_empty();
        self.is_serving() && settled && !self.peers.values().any(behind)
    }

    /// Puts a peer on the list of those that have something to write.
    pub(super) fn list(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.listed && !peer.blocked) {
            peer.listed = true;
            self.writers.push_back(id);
        }
    }

    pub(super) fn with(&mut self, id: PeerId, work: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&id) {
            work(peer);
        }
    }
}
