use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::author::{Author, bytes_of, content_of, payload_content};
use super::truth::{Content, KEPT, Truth, is_kept};
use super::wire::Wire;
use crate::channel::{Archive, Epoch, Forgotten, Limits, Message, Policy, Reset};
use crate::engine::hub::protocol::{self, Frame, Known, Position, Role, Rule};
use crate::engine::hub::server::report::decoded;

/// How many messages the channel with a history keeps.
pub(super) const HISTORY: u32 = 1000;

/// A worker. It gets the log in order, and gives it to a hub that starts anew.
pub(super) struct Worker {
    pub(super) process: u32,
    pub(super) author: Author,
    /// Its connection, and the one that it takes when it has read this one to its end.
    pub(super) wire: Option<usize>,
    pub(super) next: Option<usize>,
    /// It was told of a hub.
    pub(super) told: bool,
    /// SIGSTOP.
    pub(super) stopped: bool,
    pub(super) position: Option<Position>,
    /// Since this number of the epoch it has got all messages, without a gap.
    complete_after: u64,
    archive: Archive,
    /// The messages after `stable`.
    recent: BTreeMap<u64, (u128, u64, Vec<u8>)>,
    stable: u64,
    authors: Vec<Known>,
    /// What came behind a reset, until its end.
    incoming: Option<Incoming>,
    /// All that it has got in the present epoch, live or with a log as a whole.
    got: BTreeMap<u64, Content>,
    pub(super) resets: usize,
}

struct Incoming {
    position: Position,
    since: u64,
    floors: Vec<(Arc<str>, u64)>,
    forgotten: Option<Forgotten>,
    kept: Vec<Arc<Message>>,
    authors: Vec<Known>,
}

impl Worker {
    pub(super) fn new(process: u32) -> Self {
        Worker {
            process,
            author: Author::new(1000 + u128::from(process)),
            wire: None,
            next: None,
            told: false,
            stopped: false,
            position: None,
            complete_after: 0,
            archive: Archive::new(Epoch::from(0), 0, Limits::default()),
            recent: BTreeMap::new(),
            stable: 0,
            authors: Vec::new(),
            incoming: None,
            got: BTreeMap::new(),
            resets: 0,
        }
    }

    pub(super) fn connect(&mut self, wire: &mut Wire) {
        self.incoming = None;
        self.author.hello(wire, Role::Worker, self.position);
        wire.send(&Frame::Rules { generation: 1, rules: vec![Rule { glob: KEPT, history: HISTORY, ttl: 0 }] });
    }

    /// Reads what has come. Returns false if the connection has ended, and all was read.
    pub(super) fn read(&mut self, wire: &mut Wire, most: usize, truth: &mut Truth) -> bool {
        let mut asked = false;
        let more = wire.read_by_peer(most, |frame| asked |= self.take(frame, truth));
        if asked {
            self.report(wire);
        }
        more
    }

    /// Returns whether the hub asks for a report.
    fn take(&mut self, frame: Frame<'_>, truth: &mut Truth) -> bool {
        self.author.take(&frame, truth);
        match frame {
            Frame::AskReport => return true,
            Frame::Message { seq, author, count, message } => {
                assert_eq!(content_of(message), (author, count));
                self.deliver(seq, (author, count), truth);
            }
            Frame::Own { count, seq, run } => {
                for index in 0..u64::from(run) {
                    self.deliver(seq + index, (self.author.number, count + index), truth);
                }
            }
            Frame::Stable { seq } => {
                self.stable = self.stable.max(seq);
                self.recent = self.recent.split_off(&(self.stable + 1));
                self.authors.retain(|known| known.seq > seq);
            }
            Frame::Continue { after } => assert_eq!(self.position.map(|position| position.last), Some(after)),
            Frame::Reset { position, since } => {
                let (floors, kept, authors) = (Vec::new(), Vec::new(), Vec::new());
                self.incoming = Some(Incoming { position, since, floors, forgotten: None, kept, authors });
            }
            Frame::Floors(floors) => {
                let floors = floors.into_iter().map(|(floor, name)| (name.into(), floor));
                self.incoming.as_mut().unwrap().floors.extend(floors);
            }
            Frame::Forgotten { key, floors } => {
                self.incoming.as_mut().unwrap().forgotten = Forgotten::from_parts(key, floors);
            }
            Frame::Kept { seq, message } => {
                let message = decoded(message, seq, &Limits::default(), (Instant::now(), SystemTime::now())).unwrap();
                self.incoming.as_mut().unwrap().kept.push(message);
            }
            Frame::Authors(authors) => self.incoming.as_mut().unwrap().authors.extend(authors),
            Frame::End => self.reset(truth),
            _ => {}
        }
        false
    }

    fn deliver(&mut self, seq: u64, content: Content, truth: &mut Truth) {
        assert!(self.incoming.is_none(), "a message inside of a log as a whole");
        let position = self.position.as_mut().expect("a message before the log");
        assert!(seq > position.last, "{seq} comes behind {}", position.last);
        position.last = seq;
        truth.see(position.epoch, seq, content);
        self.keep(seq, content);
        let bytes = bytes_of(content);
        self.append(seq, &bytes);
        self.recent.insert(seq, (content.0, content.1, bytes));
    }

    fn keep(&mut self, seq: u64, content: Content) {
        let twice = self.got.iter().find(|(other, own)| **own == content && **other != seq);
        assert_eq!(twice, None, "the worker gets {content:?} twice");
        self.got.insert(seq, content);
    }

    fn append(&mut self, seq: u64, bytes: &[u8]) {
        let now = (Instant::now(), SystemTime::now());
        let message = decoded(bytes, seq, &Limits::default(), now).unwrap();
        if self.archive.keeps(message.channel()) {
            self.archive.append(message);
        } else {
            self.archive.pass(message.channel(), seq);
        }
    }

    /// The log as a whole has come.
    fn reset(&mut self, truth: &mut Truth) {
        let Incoming { position, since, floors, forgotten, kept, authors } = self.incoming.take().unwrap();
        let forgotten = forgotten.unwrap();
        self.resets += 1;
        let floor = floors.iter().find(|(name, _)| **name == *KEPT);
        let floor = floor.map_or(forgotten.floor(KEPT), |(_, floor)| *floor);
        let numbers: Vec<_> = kept.iter().map(|message| message.seq()).collect();
        let above = numbers.first().is_none_or(|first| *first > since.max(floor));
        assert!(numbers.is_sorted() && above, "{numbers:?} above {since} and {floor}");
        if since == 0 {
            self.got.clear();
        } else {
            assert_eq!((self.position.map(|own| (own.epoch, own.last))), Some((position.epoch, since)));
            // The channel with a history has no gap, because it keeps more than a schedule publishes.
            assert!(floor <= since, "a gap in a channel with a history: {floor} of {since}");
        }
        let old: Vec<_> = self.archive.image(0).history;
        self.archive = Archive::new(Epoch::from(position.epoch), 0, Limits::default());
        self.archive.define(KEPT, Policy { history: HISTORY as usize, ..Policy::default() });
        for message in &kept {
            let content = payload_content(message.payload());
            truth.see(position.epoch, message.seq(), content);
            self.keep(message.seq(), content);
        }
        let old = old.into_iter().filter(|message| since > 0 && message.seq() > floor);
        let history = old.chain(kept).collect();
        let epoch = Epoch::from(position.epoch);
        self.archive.replace(Reset { epoch, last: position.last, forgotten, floors, history });
        if since > 0 {
            for (seq, content) in truth.between(position.epoch, since, position.last) {
                assert!(!is_kept(content) || self.got.contains_key(&seq), "{seq} is missing in a log as a whole");
            }
        }
        self.position = Some(position);
        self.complete_after = position.last;
        self.recent.clear();
        (self.stable, self.authors) = (position.last, authors);
    }

    /// Sends the report.
    fn report(&mut self, wire: &mut Wire) {
        let position = self.position;
        wire.send(&Frame::Report { position, after: self.stable });
        for (seq, (author, count, message)) in &self.recent {
            wire.send(&Frame::Message { seq: *seq, author: *author, count: *count, message });
        }
        let image = self.archive.image(0);
        wire.send(&Frame::Floors(image.floors.iter().map(|(name, floor)| (*floor, &**name)).collect()));
        wire.send(&Frame::Forgotten { key: image.forgotten.key(), floors: image.forgotten.floors().to_vec() });
        for message in &image.history {
            let mut bytes = Vec::new();
            protocol::kept(message, (Instant::now(), SystemTime::now()), &mut bytes).unwrap();
            wire.send_bytes(&bytes);
        }
        wire.send(&Frame::Authors(self.authors.clone()));
        wire.send(&Frame::End);
    }

    /// At the end of a schedule: the worker has all that there is.
    pub(super) fn check(&self, position: Position, truth: &Truth) {
        let own = self.position.expect("the worker has no log");
        assert_eq!(own.epoch, position.epoch, "the worker {} has an old epoch", self.process);
        let missing: BTreeSet<_> = truth
            .between(own.epoch, self.complete_after, position.last)
            .filter(|(seq, content)| self.got.get(seq) != Some(content))
            .collect();
        assert!(missing.is_empty(), "the worker {} at {own:?} misses {missing:?}", self.process);
        let kept = self.archive.image(0).history.len();
        let newer = self.got.values().filter(|content| is_kept(**content)).count();
        assert!(kept >= newer.min(HISTORY as usize), "{kept} of {newer}");
        assert_eq!(self.author.unsettled.len(), 0);
    }
}
