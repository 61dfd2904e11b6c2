//! Bytes for the sockets of peers, and what follows when the sockets take them.

use std::io::{self, IoSlice};
use std::time::{Instant, SystemTime};

use super::super::protocol::Frame;
use super::peer::{Kind, Peer, PeerId};
use super::state::{Hub, Phase};

/// Bytes that are staged for a socket at once. What is staged must be written before anything else.
const STAGE: usize = 256 << 10;

/// Bytes that one peer gets in one turn, so that it does not hold up the others.
const TURN: usize = 1 << 20;

/// Slices that one system call gets.
const SLICES: usize = 64;

/// What [`Hub::flush`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The peer has all.
    All,
    /// The socket takes no more for now. The driver calls [`Hub::unblock`] when it does.
    Blocked,
    /// There is more, but it is the turn of others. The peer is on the list again.
    More,
    /// The connection is broken, and the hub has forgotten it.
    Broken,
}

impl Hub {
    /// Writes what waits for a peer. `write` is a vectored write to the peer's socket.
    pub fn flush(&mut self, id: PeerId, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        let mut sum = 0;
        let result = loop {
            self.stage(id);
            let Some(peer) = self.peers.get_mut(&id) else { return Flushed::Broken };
            if peer.staged_bytes() == 0 {
                // There may be a piece without bytes, which says how far the worker is.
                peer.wrote(0);
                if self.reattach(id) {
                    continue;
                }
                break Flushed::All;
            }
            if sum >= TURN {
                break Flushed::More;
            }
            if let Some(place) = &peer.place {
                // This comes first: the worker may see what it gets before this process can do anything else.
                self.numbers.may_see(place.slot, place.staged);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            for (slice, bytes) in slices.iter_mut().zip(peer.slices()) {
                *slice = IoSlice::new(bytes);
                used += 1;
            }
            match write(&slices[..used]) {
                Ok(0) => break Flushed::Blocked,
                Ok(count) => {
                    peer.wrote(count);
                    sum += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Flushed::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.close(id);
                    break Flushed::Broken;
                }
            }
        };
        let position = self.position();
        let mut answered = false;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.blocked = result == Flushed::Blocked;
            if peer.unanswered.is_empty() {
                self.waiting.remove(&id);
                answered = peer.welcomed && !peer.questions.is_empty();
            }
            if answered {
                let questions = std::mem::take(&mut peer.questions);
                questions.into_iter().for_each(|token| peer.send(&Frame::Position { token, position }));
            }
        }
        if result == Flushed::More || answered {
            self.list(id);
        }
        // Not here: with many peers, each look at all of them would come after each write.
        self.moved = true;
        result
    }

    /// The socket takes bytes again.
    pub fn unblock(&mut self, id: PeerId) {
        self.with(id, |peer| peer.blocked = false);
        self.list(id);
    }

    /// Puts bytes for the socket in their order: the reserved lane, parcels, answers, a log as a whole, the log.
    fn stage(&mut self, id: PeerId) {
        let (answerable, stable, now) = (self.answerable, self.stable, self.now);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.control.is_empty() && peer.staged_bytes() < STAGE {
            let bytes = peer.control.split().freeze();
            peer.stage(bytes);
        }
        peer.stage_parcels(STAGE);
        stage_answers(peer, answerable);
        while peer.staged_bytes() < STAGE
            && let Some(image) = &mut peer.image
        {
            match (image.next(now), &peer.place) {
                (Some(bytes), _) => peer.stage(bytes),
                (None, place) => {
                    let base = place.as_ref().map(|place| place.base);
                    peer.image = None;
                    base.into_iter().for_each(|base| peer.stage_log(bytes::Bytes::new(), base));
                }
            }
        }
        if peer.image.is_some() {
            return;
        }
        let Some(place) = peer.place.as_mut().filter(|place| place.attached) else { return };
        let mut staged = place.staged;
        if self.tail.bytes_after(staged) == 0 {
            return;
        }
        if stable > place.stable {
            place.stable = stable;
            peer.send(&Frame::Stable { seq: stable });
            let bytes = peer.control.split().freeze();
            peer.stage(bytes);
        }
        let author = peer.hello.map(|hello| hello.author);
        for entry in self.tail.after(staged) {
            if peer.staged_bytes() >= STAGE {
                break;
            }
            let entry = if entry.first <= staged { entry.after(staged) } else { entry.clone() };
            staged = entry.last();
            if Some(entry.author) == author {
                peer.send(&Frame::Own { count: entry.count, seq: entry.first, run: entry.run });
                let bytes = peer.control.split().freeze();
                peer.stage_log(bytes, staged);
            } else {
                peer.stage_log(entry.bytes, staged);
            }
        }
        if let Some(place) = &mut peer.place {
            place.staged = staged;
        }
    }

    /// Attaches a worker again that was cut off, when its socket has taken all that was staged. Returns whether there is
    /// something to write.
    fn reattach(&mut self, id: PeerId) -> bool {
        let cut_off = |peer: &Peer| peer.image.is_none() && peer.place.as_ref().is_some_and(|place| !place.attached);
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| cut_off(peer)) else { return false };
        let kind = peer.kind;
        let Some(place) = &mut peer.place else { return false };
        log::info!("{kind} takes messages again");
        if place.staged >= self.tail.start() {
            (place.attached, place.unseen) = (true, None);
        } else {
            self.reset(id);
        }
        true
    }

    /// Notes how far workers are: what may be answered, what is stable, what the log must keep, and whether there is credit.
    /// Looks at all workers, and at all outsiders that wait.
    pub(super) fn progress(&mut self) {
        self.moved = false;
        if !matches!(self.phase, Phase::Serving) {
            return;
        }
        #[cfg(test)]
        {
            self.looks += 1;
        }
        self.note_answerable();
        let places = || self.workers.iter().filter_map(|id| self.peers.get(id)?.attached());
        let taken = places().map(|place| place.sent).min().unwrap_or(self.last);
        let unanswered = self.waiting.iter().filter_map(|id| self.peers.get(id)?.oldest_unanswered());
        let absent = self.absent.values().map(|absent| absent.oldest);
        // A worker that is cut off asks the next hub, too.
        let unseen = self.workers.iter().filter_map(|id| self.peers.get(id)?.place.as_ref()?.unseen);
        let answered = unanswered.chain(absent).chain(unseen).min().map_or(self.last, |oldest| oldest - 1);
        self.stable = taken.min(answered).max(self.stable);
        let slowest =
            places().filter(|place| place.sent >= place.base || place.base == 0).map(|place| place.sent).min();
        let lag = slowest.map_or(0, |sent| self.tail.bytes_after(sent));
        // What a worker that gets a log as a whole needs afterwards.
        let needed = places().map(|place| place.sent.max(place.base)).min().unwrap_or(self.last);
        let most = self.settings.recent;
        self.tail.trim(most, needed);
        let withheld = lag > if self.withheld { most / 4 } else { most / 2 };
        if std::mem::replace(&mut self.withheld, withheld) && !withheld {
            self.give_all_credit();
        }
    }

    /// A message may be answered when all workers have it whose sockets take bytes, and at least one; or when none is
    /// attached.
    fn note_answerable(&mut self) {
        let before = self.answerable;
        let peers = || self.workers.iter().filter_map(|id| self.peers.get(id)).filter(|peer| peer.attached().is_some());
        let places = |blocked: bool| {
            let peers = peers().filter(move |peer| !blocked || !peer.blocked).filter_map(Peer::attached);
            // A worker that began with a log as a whole does not have the messages before.
            peers.filter(|place| place.base <= self.answerable).map(|place| place.sent)
        };
        let most = places(false).max();
        let next = match (places(true).min(), most) {
            (Some(least), _) => least,
            (None, Some(most)) => most,
            (None, None) if !self.returning.0.is_empty() => return,
            (None, None) => match peers().filter_map(Peer::attached).map(|place| place.base).min() {
                Some(base) => base,
                None => self.last,
            },
        };
        if next <= before {
            return;
        }
        if most.is_none() {
            // If this hub dies, so do the messages.
            self.numbers.only_here(next);
            #[cfg(test)]
            {
                self.only_here = next;
            }
        }
        self.answerable = next;
        std::mem::take(&mut self.welcomed_later).into_iter().for_each(|id| self.welcome(id));
        let answered = |peer: &Peer| peer.unanswered.get(peer.answering).is_some_and(|run| run.seq <= next);
        let ready: Vec<_> =
            self.waiting.iter().copied().filter(|id| self.peers.get(id).is_some_and(answered)).collect();
        ready.into_iter().for_each(|id| self.list(id));
    }

    // ---- time ------------------------------------------------------------------------------

    /// Does what time demands. The driver calls it a few times a second, when it has given the hub all that has come.
    pub fn tick(&mut self, now: Instant, system: SystemTime) {
        self.set_time(now, system);
        if self.is_serving() && self.returning.1 <= now && !self.returning.0.is_empty() {
            self.returning.0.clear();
            self.progress();
        }
        self.expire_members();
        if now.saturating_duration_since(self.looked) >= self.settings.patience / 4 {
            let before = std::mem::replace(&mut self.looked, now);
            self.lose_silent_workers(before);
            self.cut_off_stuck_workers();
        }
        if now.saturating_duration_since(self.swept).as_secs() >= 1 {
            self.swept = now;
            self.archive.sweep(now);
            self.tell_stable();
            self.close_slow_outsiders();
        }
        self.forget_absent_authors(now);
    }

    /// Tells workers what is stable, if no message has told them. Not more often: it wakes them up.
    fn tell_stable(&mut self) {
        let stable = self.stable;
        for id in self.workers.iter().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let behind = |place: &&mut super::peer::Place| place.attached && place.stable < stable;
            let Some(place) = peer.place.as_mut().filter(behind) else { continue };
            // A worker that has not got its log yet knows no stable messages.
            if place.sent >= place.base {
                place.stable = stable;
                peer.send(&Frame::Stable { seq: stable });
                self.list(id);
            }
        }
    }

    fn forget_absent_authors(&mut self, now: Instant) {
        if self.absent.is_empty() {
            return;
        }
        let (tail, most) = (&self.tail, self.settings.absence_bytes);
        let before = self.absent.len();
        // A worker that has said nothing yet may be one of them.
        let silent = self.peers.values().any(|peer| matches!(peer.kind, Kind::Worker(_)) && peer.hello.is_none());
        self.absent.retain(|_, own| (silent || now < own.until) && tail.bytes_after(own.oldest) <= most);
        if self.absent.len() < before {
            self.progress();
        }
    }

    /// The number of the first message that a worker has published and that its socket has not taken.
    pub(super) fn first_unseen(&self, peer: &Peer) -> Option<u64> {
        let (place, hello) = (peer.place.as_ref()?, peer.hello?);
        if place.attached { self.tail.first_of(hello.author, place.sent) } else { place.unseen }
    }

    fn cut_off_stuck_workers(&mut self) {
        let much = self.settings.stuck_bytes;
        for id in &self.workers {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            let (taken, blocked) = (std::mem::take(&mut peer.taken), peer.blocked);
            let waiting = peer.staged_bytes() + peer.attached().map_or(0, |place| self.tail.bytes_after(place.staged));
            let Some(place) = peer.place.as_mut().filter(|place| place.attached) else { continue };
            let stuck = blocked && taken < much / 4 && waiting > much;
            peer.stuck = if stuck { peer.stuck + 1 } else { 0 };
            if peer.stuck > 4 {
                let author = peer.hello.map(|hello| hello.author);
                place.attached = false;
                place.unseen = author.and_then(|author| self.tail.first_of(author, place.sent));
                peer.stuck = 0;
                log::warn!("{} takes no messages: the hub goes on without it", peer.kind);
            }
        }
        self.progress();
    }
}

/// Stages answers that may be given.
fn stage_answers(peer: &mut Peer, answerable: u64) {
    let mut bytes = bytes::BytesMut::new();
    let mut answers = 0;
    while let Some(run) = peer.unanswered.get_mut(peer.answering + answers).filter(|run| run.seq <= answerable) {
        let mut rest = *run;
        let ready = (answerable + 1 - run.seq).min(run.run.into()) as u32;
        run.run = ready;
        Frame::Numbered { count: run.count, seq: run.seq, run: ready }.encode(&mut bytes);
        answers += 1;
        if ready < rest.run {
            rest.count += u64::from(ready);
            rest.seq += u64::from(ready);
            rest.run -= ready;
            peer.unanswered.insert(peer.answering + answers, rest);
        }
    }
    if answers > 0 {
        peer.stage_answers(bytes.freeze(), answers);
    }
}
