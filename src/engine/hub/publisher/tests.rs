//! A model: a publisher, a server and a connection that breaks anywhere.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use super::super::protocol::{Frame, Position, VERSION, Welcome, decode};
use super::*;
use crate::channel::{Draft, Limits, codec};

const EPOCH: u64 = 7;
const CREDIT: u32 = 200;

fn message(text: &str) -> Content {
    Content::Message(Message::new(&Draft::text("c", text.as_bytes()), &Limits::default(), Instant::now()).unwrap())
}

fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

/// A server that numbers each count once. It remembers the numbers of the last few messages only, as a hub does.
#[derive(Default)]
struct Server {
    log: Vec<String>,
    known: u64,
    seqs: HashMap<u64, u64>,
    forgetful: bool,
}

impl Server {
    fn take(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame {
            Frame::Hello { settled, .. } => {
                let seq = self.seqs.get(&self.known).copied().unwrap_or(0);
                let position = Position { epoch: EPOCH, last: self.log.len() as u64 };
                let known = self.known;
                let welcome = Welcome {
                    version: VERSION,
                    position,
                    count: known,
                    seq,
                    commands: 0,
                    credit: CREDIT,
                    longest: 1000,
                };
                Frame::Welcome(welcome).encode(out);
                for count in settled + 1..=known {
                    if let Some(seq) = self.seqs.get(&count).filter(|_| !self.forgetful) {
                        Frame::Numbered { count, seq: *seq, run: 1 }.encode(out);
                    }
                }
            }
            Frame::Publish { count, message } => {
                Frame::Credit { bytes: 13 + message.len() as u32 }.encode(out);
                if *count <= self.known {
                    return;
                }
                let (decoded, _) = codec::decode(message, 1000).unwrap().unwrap();
                self.log.push(String::from_utf8(decoded.draft.payload.to_vec()).unwrap());
                self.known = *count;
                self.seqs.insert(*count, self.log.len() as u64);
                Frame::Numbered { count: *count, seq: self.log.len() as u64, run: 1 }.encode(out);
            }
            Frame::AskPosition { token } => {
                let position = Position { epoch: EPOCH, last: self.log.len() as u64 };
                Frame::Position { token: *token, position }.encode(out);
            }
            other => panic!("{other:?}"),
        }
    }
}

struct World {
    exchange: Exchange,
    server: Server,
    random: fastrand::Rng,
    connected: bool,
    to_server: Vec<u8>,
    at_server: Vec<u8>,
    to_client: Vec<u8>,
    at_client: Vec<u8>,
    open: Vec<u64>,
    next: u64,
    unsent: HashSet<u64>,
    answered: HashMap<u64, Answer>,
}

impl World {
    fn new(seed: u64, forgetful: bool) -> Self {
        World {
            exchange: Exchange::new(1),
            server: Server { forgetful, ..Server::default() },
            random: fastrand::Rng::with_seed(seed),
            connected: false,
            to_server: Vec::new(),
            at_server: Vec::new(),
            to_client: Vec::new(),
            at_client: Vec::new(),
            open: Vec::new(),
            next: 1,
            unsent: HashSet::new(),
            answered: HashMap::new(),
        }
    }

    fn step(&mut self) {
        match self.random.u32(0..100) {
            0..25 => {
                self.exchange.publish(self.next, message(&self.next.to_string()));
                self.open.push(self.next);
                self.next += 1;
            }
            25..30 if !self.open.is_empty() => {
                let id = self.open.swap_remove(self.random.usize(..self.open.len()));
                if self.exchange.give_up(id) == GivenUp::Unsent {
                    self.unsent.insert(id);
                }
            }
            30..33 if self.connected => self.cut(),
            33..40 if !self.connected => self.connect(),
            _ if self.connected => self.move_bytes(),
            _ => {}
        }
    }

    fn connect(&mut self) {
        self.exchange.connected(&mut self.to_server);
        self.connected = true;
    }

    /// What is on its way is lost. The server may have taken a part of it before.
    fn cut(&mut self) {
        for buffer in [&mut self.to_server, &mut self.at_server, &mut self.to_client, &mut self.at_client] {
            buffer.clear();
        }
        self.exchange.disconnected();
        self.connected = false;
    }

    fn move_bytes(&mut self) {
        self.exchange.send(now(), &mut self.to_server);
        let some = self.random.usize(..=self.to_server.len());
        self.at_server.extend(self.to_server.drain(..some));
        if self.random.bool() {
            while let Some((frame, length)) = decode(&self.at_server, 2000).unwrap() {
                self.server.take(&frame, &mut self.to_client);
                self.at_server.drain(..length);
            }
        }
        let some = self.random.usize(..=self.to_client.len());
        self.at_client.extend(self.to_client.drain(..some));
        let taken = self.exchange.receive(&self.at_client, &mut self.to_server).unwrap();
        self.at_client.drain(..taken);
        for (id, answer) in self.exchange.answers() {
            self.open.retain(|other| *other != id);
            assert!(self.answered.insert(id, answer).is_none());
        }
    }

    fn finish(&mut self) {
        if !self.connected {
            self.connect();
        }
        for _ in 0..10_000 {
            if self.exchange.is_idle() {
                break;
            }
            self.move_bytes();
        }
        assert_eq!(self.open, [0; 0], "requests without an answer");
    }

    fn check(&self, exact: bool) {
        let published: HashMap<u64, u64> =
            self.server.log.iter().zip(1..).map(|(text, seq)| (text.parse().unwrap(), seq)).collect();
        assert_eq!(published.len(), self.server.log.len(), "a message was published twice");
        let order: Vec<u64> = self.server.log.iter().map(|text| text.parse().unwrap()).collect();
        assert!(order.is_sorted(), "{order:?}");
        for (id, answer) in &self.answered {
            let Answer::At(cursor) = answer else { panic!("{answer:?}") };
            let seq = published[id];
            assert!(if exact { cursor.seq == seq } else { cursor.seq <= seq }, "{id}: {cursor} is not {seq}");
        }
        assert!(
            self.unsent.iter().all(|id| !published.contains_key(id)),
            "published, though it was said that it is not"
        );
    }
}

#[test]
fn each_message_is_published_once_and_in_order_whatever_breaks() {
    let (mut cuts, mut resent) = (0, 0);
    for seed in 0..2000 {
        let forgetful = seed % 2 == 1;
        let mut world = World::new(seed, forgetful);
        for _ in 0..200 {
            let connected = world.connected;
            world.step();
            cuts += u32::from(connected && !world.connected);
            resent += u32::from(!world.connected && !world.exchange.is_idle());
        }
        world.finish();
        world.check(!forgetful);
    }
    // The test would show nothing if connections did not break while answers are missing.
    assert!(cuts > 1000 && resent > 1000, "{cuts} {resent}");
}

#[test]
fn bytes_that_are_no_answer_end_the_connection_and_nothing_else() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let mut exchange = Exchange::new(1);
        let mut out = Vec::new();
        exchange.connected(&mut out);
        (1..4).for_each(|id| exchange.publish(id, message("x")));
        let mut answers = Vec::new();
        let position = Position { epoch: EPOCH, last: 3 };
        let welcome =
            Welcome { version: VERSION, position, count: 2, seq: 2, commands: 0, credit: CREDIT, longest: 1000 };
        Frame::Welcome(welcome).encode(&mut answers);
        Frame::Numbered { count: 1, seq: 1, run: 2 }.encode(&mut answers);
        Frame::Credit { bytes: u32::MAX }.encode(&mut answers);
        Frame::Position { token: 0, position }.encode(&mut answers);
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..answers.len());
            answers[at] = random.u8(..);
        }
        let _ = exchange.receive(&answers, &mut out);
        exchange.send(now(), &mut out);
        exchange.disconnected();
    }
}

#[test]
fn another_version_and_a_server_that_is_none_are_told_apart() {
    let position = Position { epoch: EPOCH, last: 0 };
    let welcome = Welcome { version: 9, position, count: 0, seq: 0, commands: 0, credit: 1, longest: 1 };
    let mut bytes = Vec::new();
    Frame::Welcome(welcome).encode(&mut bytes);
    let error = |bytes: &[u8]| Exchange::new(1).receive(bytes, &mut Vec::new()).unwrap_err().to_string();
    assert!(error(&bytes).contains("version 9"));
    assert!(error(b"HTTP/1.1 400 Bad Request\r\n").contains("does not speak"));
}

#[test]
fn a_message_that_is_too_long_for_the_server_is_refused_before_it_is_sent() {
    let mut exchange = Exchange::new(1);
    let (mut out, mut bytes) = (Vec::new(), Vec::new());
    exchange.connected(&mut out);
    exchange.publish(1, message(&"x".repeat(100)));
    exchange.publish(2, message("x"));
    let position = Position { epoch: EPOCH, last: 0 };
    let welcome = Welcome { version: VERSION, position, count: 0, seq: 0, commands: 0, credit: 1000, longest: 50 };
    Frame::Welcome(welcome).encode(&mut bytes);
    exchange.receive(&bytes, &mut out).unwrap();
    out.clear();
    exchange.send(now(), &mut out);
    let answers: Vec<_> = exchange.answers().collect();
    assert_eq!(answers, [(1, Answer::Refused(super::super::protocol::Refusal::TooLong))]);
    assert!(matches!(decode(&out, 1000), Ok(Some((Frame::Publish { count: 1, .. }, _)))));
}
