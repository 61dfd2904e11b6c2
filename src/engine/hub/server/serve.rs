//! Peers are welcomed, and messages get their numbers.

use std::collections::BTreeMap;

use super::super::author::{commands_of, process_of};
use super::super::protocol::{Frame, Refusal, Role, VERSION, Welcome};
use super::image::Image;
use super::members::is_of_outsider;
use super::peer::{Hello, Kind, Peer, PeerId, Place, Run};
use super::state::{Hub, Phase};
use crate::channel::codec::{self, Decoded, Entry};
use crate::channel::{Kind as ContentKind, Message, Reset};

impl Hub {
    pub(super) fn hello(&mut self, id: PeerId, version: u16, role: Role, hello: Hello) -> Result<(), String> {
        if version != VERSION {
            return Err(format!("it speaks version {version} of the protocol, and the hub version {VERSION}"));
        }
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        if peer.hello.is_some() || (role == Role::Worker) != matches!(peer.kind, Kind::Worker(_)) {
            return Err("an unexpected hello".to_owned());
        }
        peer.hello = Some(hello);
        let kind = peer.kind;
        let author = self.authors.get(hello.author, self.last);
        if let Some(before) = author.peer.replace(id) {
            self.close(before);
        }
        self.absent.remove(&process_of(hello.author));
        match (&self.phase, kind) {
            (Phase::Serving, _) => self.welcome(id),
            (Phase::Recovering { .. }, Kind::Worker(_)) => {
                self.ask_for_report(id);
                self.finish_recovery();
            }
            _ => {}
        }
        Ok(())
    }

    /// Welcomes all peers that wait for it.
    pub(super) fn welcome_all(&mut self) {
        let waiting = self.peers.iter().filter(|(_, peer)| peer.hello.is_some() && !peer.welcomed);
        waiting.map(|(id, _)| *id).collect::<Vec<_>>().into_iter().for_each(|id| self.welcome(id));
    }

    pub(super) fn welcome(&mut self, id: PeerId) {
        self.tail.close();
        let (position, longest) = (self.position(), self.longest() as u32);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(hello) = peer.hello else { return };
        let author = self.authors.get(hello.author, self.last);
        if hello.settled > author.count {
            (author.count, author.numbered) = (hello.settled, (hello.settled, 0));
        }
        let (count, numbered) = (author.count, author.numbered);
        let worker = matches!(peer.kind, Kind::Worker(_));
        if !worker && numbered.1 > self.answerable {
            self.welcomed_later.insert(id);
            return;
        }
        let credit = if worker { self.settings.worker_credit } else { self.settings.outsider_credit };
        let seq = if numbered.0 == count { numbered.1 } else { 0 };
        let commands = if worker { self.authors.know_commands(id, &hello, self.last) } else { 0 };
        peer.send(&Frame::Welcome(Welcome { version: VERSION, position, count, seq, commands, credit, longest }));
        (peer.welcomed, peer.credit) = (true, credit.into());
        // The author may have missed these answers.
        let author = self.authors.get(hello.author, self.last);
        for (count, reason) in author.refused_after(hello.settled) {
            peer.send(&Frame::Refused { count, reason });
        }
        for token in std::mem::take(&mut peer.questions) {
            peer.send(&Frame::Position { token, position });
        }
        if worker {
            self.place(id, hello);
        } else {
            // What was numbered while the author was away.
            for entry in self.tail.after(self.tail.start()).filter(|entry| entry.author == hello.author) {
                let skip = hello.settled.saturating_add(1).saturating_sub(entry.count).min(entry.run.into());
                if skip < entry.run.into() {
                    let run = entry.run - skip as u32;
                    peer.unanswered.push_back(Run { count: entry.count + skip, seq: entry.first + skip, run });
                    self.waiting.insert(id);
                }
            }
        }
        self.list(id);
    }

    /// Gives a worker its place in the log.
    fn place(&mut self, id: PeerId, hello: Hello) {
        let ours = hello.position.filter(|own| own.epoch == u64::from(self.epoch) && own.last <= self.last);
        let last = ours.map_or(0, |own| own.last);
        let continues = ours.is_some() && last >= self.tail.start();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Kind::Worker(process) = peer.kind else { return };
        let slot = self.numbers.attach(process, last);
        peer.place = Some(Place { slot, staged: last, sent: last, attached: true, stable: 0, base: 0, unseen: None });
        self.workers.insert(id);
        self.routes.begin(process, id);
        self.returning.0.remove(&process);
        if continues {
            peer.send(&Frame::Continue { after: last });
        } else {
            self.reset(id);
        }
    }

    /// Gives a worker what the channels have kept since its place in the log, because the log does not reach back so far.
    pub(super) fn reset(&mut self, id: PeerId) {
        let (position, last) = (self.position(), self.last);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(place) = &mut peer.place else { return };
        let begin = [Frame::Reset { position, since: place.sent }];
        let mut authors = self.authors.known_after(self.stable);
        if let Some(author) = peer.hello.map(|hello| hello.author) {
            // It needs to know of its own entries that are not in the log any more, also if they are stable.
            for author in [author, commands_of(author)] {
                authors.retain(|known| known.author != author);
                authors.extend(self.authors.known_of(author));
            }
        }
        let log = Reset { members: self.members.all().collect(), ..self.archive.image(place.sent) };
        peer.image = Some(Image::new(&begin, Vec::new(), log, authors));
        // The worker has the log when it has the whole image.
        (place.staged, place.base, place.attached) = (last, last, true);
        place.unseen = None;
    }

    /// Sends the whole log to the next hub.
    pub(super) fn stage_report(&mut self, id: PeerId) {
        self.tail.close();
        let (generation, rules) = self.rules.list();
        let start = self.tail.start();
        let begin = [
            Frame::Rules { generation, rules },
            Frame::Report { position: Some(self.position()), after: start },
            Frame::Stable { seq: self.stable },
        ];
        let entries = self.tail.after(start).cloned().collect();
        let log = Reset { members: self.members.all().collect(), ..self.archive.image(0) };
        let image = Image::new(&begin, entries, log, self.authors.known());
        self.with(id, |peer| peer.image = Some(image));
    }

    pub(super) fn publish(&mut self, id: PeerId, count: u64, message: &[u8], length: usize) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        let Some(hello) = peer.hello.filter(|_| peer.welcomed) else {
            return Err("it published before it was welcome".to_owned());
        };
        if peer.credit <= 0 {
            return Err("it published more than its credit".to_owned());
        }
        if peer.owed == 0 {
            self.publishers.push(id);
        }
        peer.credit -= length as i64;
        peer.owed += length;
        let outsider = peer.kind == Kind::Outsider;
        let author = self.authors.get(hello.author, self.last);
        if count <= author.count {
            return Ok(());
        }
        author.count = count;
        let seq = self.used + 1;
        match self.number(seq, message, outsider) {
            Ok(()) => {
                self.authors.get(hello.author, seq).numbered = (count, seq);
                self.add(seq, hello.author, count, message);
                self.await_answer(id, Run { count, seq, run: 1 });
                self.note_unseen(id, seq);
            }
            Err(reason) => {
                self.authors.get(hello.author, self.last).refuse(count, reason);
                self.with(id, |peer| peer.send(&Frame::Refused { count, reason }));
                self.list(id);
            }
        }
        Ok(())
    }

    /// Adds an entry that has its number to the log.
    pub(super) fn add(&mut self, seq: u64, author: u128, count: u64, bytes: &[u8]) {
        (self.last, self.used) = (seq, seq);
        self.tail.push(seq, author, count, bytes);
    }

    /// If the worker is cut off, it does not know that its own entry has this number.
    pub(super) fn note_unseen(&mut self, id: PeerId, seq: u64) {
        self.with(id, |peer| {
            let cut_off = peer.place.as_mut().filter(|place| !place.attached);
            cut_off.into_iter().for_each(|place| _ = place.unseen.get_or_insert(seq));
        });
    }

    /// Gives what a peer has published its number.
    fn number(&mut self, seq: u64, message: &[u8], outsider: bool) -> Result<(), Refusal> {
        if message.len() > self.longest() {
            return Err(Refusal::TooLong);
        }
        let entry = codec::decode_entry(message, usize::MAX).map_err(|_| Refusal::Broken)?;
        match entry.filter(|(_, length)| *length == message.len()) {
            Some((Entry::Message(decoded), _)) => self.number_message(seq, &decoded, outsider),
            Some((Entry::Command(command), _)) if outsider && is_of_outsider(&command) => {
                self.number_command(seq, command);
                Ok(())
            }
            _ => Err(Refusal::Broken),
        }
    }

    /// Gives a message its number, in the number store and in the archive.
    fn number_message(&mut self, seq: u64, decoded: &Decoded<'_>, outsider: bool) -> Result<(), Refusal> {
        let (channel, stored) = (decoded.draft.channel, decoded.draft.store);
        // Only the server itself makes messages of that kind.
        let forbidden = outsider && decoded.draft.kind == ContentKind::Server;
        if channel.is_empty() || channel.len() > self.settings.max_name || forbidden {
            return Err(Refusal::Broken);
        }
        if stored && self.archive.keeps(channel) {
            if !self.archive.accepts(channel) {
                return Err(Refusal::TooManyChannels);
            }
            let kept = Message::new(&decoded.draft, &self.limits, decoded.published_at(self.now));
            let kept = kept.map_err(|error| match error {
                crate::channel::Error::TooLarge { .. } => Refusal::TooLong,
                _ => Refusal::Broken,
            })?;
            // This comes first: the number must be in use before any peer can get it.
            self.numbers.use_up_to(seq);
            kept.number(seq);
            self.archive.append(kept);
        } else {
            self.numbers.use_up_to(seq);
            if stored {
                self.archive.pass(channel, seq);
            } else {
                self.archive.advance(seq);
            }
        }
        if outsider {
            self.stats.published.add();
        }
        Ok(())
    }

    /// An outsider waits for the answer to its message.
    fn await_answer(&mut self, id: PeerId, new: Run) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.kind == Kind::Outsider) else { return };
        self.waiting.insert(id);
        let Peer { unanswered, answering, .. } = peer;
        let open = unanswered.len() > *answering;
        match unanswered.back_mut().filter(|_| open) {
            Some(last) if last.last() + 1 == new.seq && last.count.checked_add(last.run.into()) == Some(new.count) => {
                last.run += 1
            }
            _ => unanswered.push_back(new),
        }
    }

    /// The driver has given the hub all that came in this turn. Now workers can get it.
    pub fn end_turn(&mut self) {
        self.tail.close();
        let publishers = std::mem::take(&mut self.publishers);
        if std::mem::replace(&mut self.offered, self.last) < self.last {
            // Authors come last.
            let workers: Vec<_> = self.workers.iter().copied().collect();
            let (own, others): (Vec<_>, Vec<_>) = workers.into_iter().partition(|id| publishers.contains(id));
            others.into_iter().chain(own).for_each(|id| self.list(id));
        }
        self.progress();
        for id in publishers {
            self.give_credit(id);
        }
    }

    /// Gives credit for what the peer has published, if workers do not lag.
    pub(super) fn give_credit(&mut self, id: PeerId) {
        let withheld = self.withheld;
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.owed > 0 && !withheld) else { return };
        peer.credit += peer.owed as i64;
        let bytes = u32::try_from(std::mem::take(&mut peer.owed)).unwrap_or(u32::MAX);
        peer.send(&Frame::Credit { bytes });
        self.list(id);
    }

    /// Gives all peers the credit that was held back.
    pub(super) fn give_all_credit(&mut self) {
        let owed: BTreeMap<_, _> =
            self.peers.iter().filter(|(_, peer)| peer.owed > 0).map(|(id, _)| (*id, ())).collect();
        owed.into_keys().for_each(|id| self.give_credit(id));
    }
}
