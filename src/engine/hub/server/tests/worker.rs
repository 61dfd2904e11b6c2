use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::author::{draft_of, payload_content};
use super::roll::{Roll, Told};
use super::truth::{Content, KEPT, Truth, is_kept};
use super::wire::Wire;
use crate::channel::{
    Archive, Change, ChangeKind, Command, Epoch, Event, Limits, MemberChange, Members, Message, Policy, Progress,
    Reset, client_id,
};
use crate::engine::hub::client::{Machine, Results};
use crate::engine::hub::protocol::Position;

/// How many messages the channel with a history keeps.
pub(super) const HISTORY: usize = 1000;

/// A worker: the real state machine of one, and what it has got.
pub(super) struct Worker {
    pub(super) process: u32,
    author: u128,
    machine: Machine,
    progress: Progress,
    results: Results,
    input: Vec<u8>,
    published: u64,
    settled: u64,
    /// What its clients are: each client's member and information.
    pub(super) clients: BTreeMap<u64, (Arc<str>, Arc<str>)>,
    born: u64,
    told: Vec<Told>,
    pub(super) members: Members,
    commanded: u64,
    /// Its connection, and the one that it takes when it has read this one to its end.
    pub(super) wire: Option<usize>,
    pub(super) next: Option<usize>,
    /// It was told of a hub.
    pub(super) connected: bool,
    /// SIGSTOP.
    pub(super) stopped: bool,
    pub(super) position: Option<Position>,
    /// Since this number of the epoch it has got all messages, without a gap.
    complete_after: u64,
    archive: Archive,
    /// All that it has got in the present epoch, live or with a log as a whole.
    got: BTreeMap<u64, Content>,
    pub(super) resets: usize,
}

impl Worker {
    pub(super) fn new(process: u32) -> Self {
        let author = 1000 + u128::from(process);
        let kept = Policy { history: HISTORY, ..Policy::default() };
        let mut machine = Machine::new(author, 1, 1 << 20);
        machine.define(KEPT.to_owned(), kept.clone());
        machine.loaded();
        let mut archive = Archive::new(Epoch::from(0), 0, Limits::default());
        archive.define(KEPT, kept);
        Worker {
            process,
            author,
            machine,
            progress: Progress::default(),
            results: Results::default(),
            input: Vec::new(),
            published: 0,
            settled: 0,
            clients: BTreeMap::new(),
            born: 0,
            told: Vec::new(),
            members: Members::new(false),
            commanded: 0,
            wire: None,
            next: None,
            connected: false,
            stopped: false,
            position: None,
            complete_after: 0,
            archive,
            got: BTreeMap::new(),
            resets: 0,
        }
    }

    /// Messages and commands without a number.
    pub(super) fn unsettled(&self) -> u64 {
        self.published - self.settled + self.commanded
    }

    pub(super) fn is_ready(&self) -> bool {
        self.machine.is_ready()
    }

    pub(super) fn publish(&mut self) {
        self.published += 1;
        let payload = format!("{} {}", self.author, self.published);
        let draft = draft_of((self.author, self.published), &payload);
        let message = Message::new(&draft, &Limits::default(), Instant::now()).unwrap();
        self.machine.submit(message, self.progress.submit());
    }

    /// A client comes, goes, or has other information.
    pub(super) fn change_member(&mut self, random: &mut fastrand::Rng) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        let some = random.choice(&ids).copied();
        self.born += 1;
        match some {
            Some(client) if random.u32(..3) > 0 => {
                if random.u32(..4) > 0 {
                    self.leave(client);
                } else {
                    let member = Arc::clone(&self.clients[&client].0);
                    self.join(client, member);
                }
            }
            _ => self.come(["a", "b", "c"][random.usize(..3)]),
        }
    }

    /// Another client is a member.
    pub(super) fn come(&mut self, member: &str) {
        self.born += 1;
        self.join(client_id(self.process, self.born), member.into());
    }

    /// A client is a member.
    pub(super) fn join(&mut self, client: u64, member: Arc<str>) {
        // No other join is equal.
        let info: Arc<str> = format!("{} {}", self.process, self.born).into();
        self.born += 1;
        self.clients.insert(client, (Arc::clone(&member), Arc::clone(&info)));
        self.command(member, ChangeKind::Join { client, info });
    }

    /// A client goes.
    pub(super) fn leave(&mut self, client: u64) {
        let (member, _) = self.clients.remove(&client).unwrap();
        self.command(member, ChangeKind::Leave { client });
    }

    fn command(&mut self, member: Arc<str>, kind: ChangeKind) {
        self.commanded += 1;
        self.machine.command(Command::Member(Change { channel: "c".into(), member, kind }));
    }

    pub(super) fn connect(&mut self) {
        self.input.clear();
        self.machine.connected();
    }

    /// Sends what may be sent, about `most` bytes.
    pub(super) fn pump(&mut self, wire: &mut Wire, most: usize) {
        let mut out = Vec::new();
        self.machine.write((Instant::now(), SystemTime::now()), &mut out, most);
        wire.send_bytes(&out);
    }

    /// Reads what has come. Returns false if the connection has ended, and all was read.
    pub(super) fn read(&mut self, wire: &mut Wire, most: usize, truth: &mut Truth) -> bool {
        let more = wire.read_bytes(most, &mut self.input);
        let taken = self.machine.receive(&self.input, (Instant::now(), SystemTime::now())).unwrap();
        self.input.drain(..taken);
        self.machine.take_results(&mut self.results);
        for event in std::mem::take(&mut self.results.events) {
            match event {
                Event::Message(message) => self.deliver(message, truth),
                Event::Reset(reset) => self.reset(*reset, truth),
                Event::Command { seq, command } => self.obey(seq, command, truth),
                other @ Event::Lost { .. } => panic!("{other:?}"),
            }
        }
        self.commanded -= std::mem::take(&mut self.results.commands) as u64;
        for settled in std::mem::take(&mut self.results.settled) {
            let cursor = settled.outcome.expect("a message of the worker is lost");
            assert_eq!(settled.ticket.place(), self.settled + 1);
            self.settled += 1;
            let content = (self.author, self.settled);
            // The cursor of a message whose number is not known lies before it.
            if self.got.get(&cursor.seq) == Some(&content) {
                truth.answer(cursor.epoch.into(), cursor.seq, content);
            } else if let Some(seq) = truth.number(cursor.epoch.into(), content) {
                assert!(cursor.seq <= seq, "a cursor behind its message");
            }
        }
        if self.machine.wants_report() {
            let members = self.members.all().collect();
            self.machine.report(Some(Reset { members, ..self.archive.image(0) }));
        }
        if !more {
            self.machine.disconnected();
        }
        more
    }

    /// Goes on to a number. Returns the epoch.
    fn advance(&mut self, seq: u64) -> u64 {
        let position = self.position.as_mut().expect("a message before the log");
        assert!(seq > position.last, "{seq} comes behind {}", position.last);
        position.last = seq;
        position.epoch
    }

    fn obey(&mut self, seq: u64, command: Command, truth: &mut Truth) {
        let epoch = self.advance(seq);
        self.archive.advance(seq);
        let change = match command {
            Command::Member(change) => change,
            Command::Disconnect { member, .. } => {
                let content = payload_content(member.as_bytes());
                truth.see(epoch, seq, content);
                return self.keep(seq, content);
            }
        };
        let joined = match self.members.apply(&change, Instant::now()) {
            MemberChange::None => return,
            MemberChange::New => true,
            MemberChange::Gone => false,
        };
        self.told.push((seq, change.channel, change.member, joined));
    }

    fn deliver(&mut self, message: Arc<Message>, truth: &mut Truth) {
        let seq = message.seq();
        let epoch = self.advance(seq);
        let content = payload_content(message.payload());
        truth.see(epoch, seq, content);
        self.keep(seq, content);
        if self.archive.keeps(message.channel()) {
            self.archive.append(message);
        } else {
            self.archive.pass(message.channel(), seq);
        }
    }

    fn keep(&mut self, seq: u64, content: Content) {
        let twice = self.got.iter().find(|(other, own)| **own == content && **other != seq);
        assert_eq!(twice, None, "the worker gets {content:?} twice");
        self.got.insert(seq, content);
    }

    /// The log as a whole has come.
    fn reset(&mut self, mut reset: Reset, truth: &mut Truth) {
        self.members.replace(std::mem::take(&mut reset.members), Instant::now());
        self.told.clear();
        self.resets += 1;
        let position = Position { epoch: reset.epoch.into(), last: reset.last };
        let since = self.position.filter(|own| own.epoch == position.epoch).map_or(0, |own| own.last);
        let floor = reset.floors.iter().find(|(name, _)| **name == *KEPT);
        let floor = floor.map_or(reset.forgotten.floor(KEPT), |(_, floor)| *floor);
        let numbers: Vec<_> = reset.history.iter().map(|message| message.seq()).collect();
        let above = numbers.first().is_none_or(|first| *first > since.max(floor));
        assert!(numbers.is_sorted() && above, "{numbers:?} above {since} and {floor}");
        if since == 0 {
            self.got.clear();
        } else {
            // The channel with a history has no gap, because it keeps more than a schedule publishes.
            assert!(floor <= since, "a gap in a channel with a history: {floor} of {since}");
        }
        for message in &reset.history {
            let content = payload_content(message.payload());
            truth.see(position.epoch, message.seq(), content);
            self.keep(message.seq(), content);
        }
        self.archive.rebase(reset);
        if since > 0 {
            for (seq, content) in truth.between(position.epoch, since, position.last) {
                assert!(!is_kept(content) || self.got.contains_key(&seq), "{seq} is missing in a log as a whole");
            }
        }
        self.position = Some(position);
        self.complete_after = position.last;
        self.repair();
    }

    /// What the log has lost is sent again: see `Presence::replace`.
    fn repair(&mut self) {
        let mut joined = BTreeSet::new();
        for present in self.members.all().collect::<Vec<_>>() {
            for client in present.clients {
                let own = self.clients.get(&client).is_some_and(|(member, _)| *member == present.member);
                if own {
                    joined.insert(client);
                } else if crate::channel::process_of(client) == self.process {
                    self.command(Arc::clone(&present.member), ChangeKind::Leave { client });
                }
            }
        }
        let clients = self.clients.iter().filter(|(client, _)| !joined.contains(client));
        let lost: Vec<_> = clients.map(|(client, (member, _))| (*client, Arc::clone(member))).collect();
        lost.into_iter().for_each(|(client, member)| self.join(client, member));
    }

    /// At the end of a schedule: the worker has all that there is.
    pub(super) fn check(&self, position: Position, truth: &Truth, roll: &Roll) {
        let own = self.position.expect("the worker has no log");
        assert_eq!(own.epoch, position.epoch, "the worker {} has an old epoch", self.process);
        let machine = self.machine.position().map(|cursor| (u64::from(cursor.epoch), cursor.seq));
        assert_eq!(machine, Some((own.epoch, own.last)));
        let missing: BTreeSet<_> = truth
            .between(own.epoch, self.complete_after, position.last)
            .filter(|(seq, content)| self.got.get(seq) != Some(content))
            .collect();
        assert!(missing.is_empty(), "the worker {} at {own:?} misses {missing:?}", self.process);
        let kept = self.archive.image(0).history.len();
        let newer = self.got.values().filter(|content| is_kept(**content)).count();
        assert!(kept >= newer.min(HISTORY), "{kept} of {newer}");
        assert_eq!(self.unsettled(), 0);
        let told = roll.told(own.epoch, self.complete_after, own.last);
        assert_eq!(self.told, told, "what the readers of the worker {} are told", self.process);
    }
}
