//! Tests of the machine against a hub that fits into a test: it numbers, and a test cuts its bytes at will.

mod commands;
mod machine;
mod threads;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::machine::{Machine, Now, Results};
use crate::channel::{Draft, Event, Limits, Message, Progress, Ticket};
use crate::engine::hub::protocol::{Frame, Position, VERSION, Welcome, decode};

pub(super) const AUTHOR: u128 = 7;
pub(super) const OTHER: u128 = 8;
pub(super) const EPOCH: u64 = 0xe;

pub(super) fn now() -> Now {
    (Instant::now(), SystemTime::now())
}

pub(super) fn message(text: &str) -> Arc<Message> {
    Message::new(&Draft::text("c", text.as_bytes()), &Limits::default(), Instant::now()).unwrap()
}

pub(super) fn plain(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    crate::channel::codec::encode(&message(text), now(), &mut out).unwrap();
    out
}

pub(super) fn encoded(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut out));
    out
}

/// A machine, and what it was given.
pub(super) struct Worker {
    pub(super) machine: Machine,
    pub(super) progress: Progress,
    pub(super) tickets: Vec<Arc<Ticket>>,
    pub(super) own: Vec<Arc<Message>>,
    pub(super) results: Results,
}

impl Worker {
    pub(super) fn new() -> Self {
        Worker {
            machine: Machine::new(AUTHOR, 1, 1 << 20),
            progress: Progress::default(),
            tickets: Vec::new(),
            own: Vec::new(),
            results: Results::default(),
        }
    }

    pub(super) fn publish(&mut self, text: &str) {
        let (message, ticket) = (message(text), self.progress.submit());
        self.tickets.push(Arc::clone(&ticket));
        self.own.push(Arc::clone(&message));
        self.machine.submit(message, ticket);
    }

    /// Gives it bytes, as a connection does that reads piece by piece.
    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>, bytes: &[u8]) {
        buffer.extend_from_slice(bytes);
        let taken = self.machine.receive(buffer, now()).unwrap();
        buffer.drain(..taken);
        self.collect();
    }

    fn collect(&mut self) {
        let settled = self.results.settled.len();
        self.machine.take_results(&mut self.results);
        let new = &self.results.settled[settled..];
        self.progress.settle_all(new.iter().map(|settled| (&*settled.ticket, settled.outcome)));
    }

    pub(super) fn sent(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.machine.write(now(), &mut out, usize::MAX);
        self.collect();
        out
    }

    /// What its channels get: texts by number; a reset is `None`.
    pub(super) fn log(&self) -> Vec<(u64, Option<String>)> {
        let events = self.results.events.iter().map(|event| match event {
            Event::Message(message) => (message.seq(), Some(text(message))),
            Event::Reset(reset) => (reset.last, None),
            other => panic!("{other:?}"),
        });
        events.collect()
    }
}

pub(super) fn text(message: &Message) -> String {
    String::from_utf8(message.payload().to_vec()).unwrap()
}

/// A hub without memory bounds, whose log a test may cut: then it is as if no worker had got the rest.
#[derive(Default)]
pub(super) struct Hub {
    /// The author of the worker.
    author: u128,
    /// Author, count and message of each number, from 1 on.
    pub(super) log: Vec<(u128, u64, Vec<u8>)>,
    /// What was sent to the worker, up to which number.
    delivered: usize,
    pub(super) credit: u32,
    /// At a hello, it knows only what the worker has.
    pub(super) forgetful: bool,
    /// It gives back the credit of each message.
    pub(super) gives_credit: bool,
}

impl Hub {
    pub(super) fn known(&self, author: u128) -> (u64, u64) {
        let own = self.log.iter().zip(1u64..).filter(|((other, ..), _)| *other == author);
        own.map(|((_, count, _), seq)| (*count, seq)).max().unwrap_or_default()
    }

    pub(super) fn position(&self) -> Position {
        Position { epoch: EPOCH, last: self.log.len() as u64 }
    }

    /// Another process publishes.
    pub(super) fn other(&mut self, text: &str) {
        let count = self.known(OTHER).0 + 1;
        self.log.push((OTHER, count, plain(text)));
    }

    /// Takes what the worker has sent. Returns what the hub answers.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut input = bytes.to_vec();
        let answer = self.receive_some(&mut input);
        assert!(input.is_empty());
        answer
    }

    /// The same. What is not a whole frame stays in `input`.
    pub(super) fn receive_some(&mut self, input: &mut Vec<u8>) -> Vec<u8> {
        let (mut out, mut taken) = (Vec::new(), 0);
        while let Some((frame, length)) = decode(&input[taken..], usize::MAX).unwrap() {
            match frame {
                Frame::Hello { author, settled, position, .. } => {
                    self.author = author;
                    if self.forgetful {
                        self.log.truncate(position.map_or(0, |position| position.last as usize));
                    }
                    let (count, seq) = self.known(author);
                    assert!(settled <= count, "it has given up nothing");
                    let welcome = Welcome {
                        version: VERSION,
                        position: self.position(),
                        count,
                        seq,
                        commands: 0,
                        credit: self.credit,
                        longest: 1 << 20,
                    };
                    Frame::Welcome(welcome).encode(&mut out);
                    match position {
                        Some(Position { last, .. }) => {
                            self.delivered = last as usize;
                            Frame::Continue { after: last }.encode(&mut out);
                        }
                        None => {
                            self.delivered = self.log.len();
                            Frame::Reset { position: self.position(), since: 0 }.encode(&mut out);
                            Frame::End.encode(&mut out);
                        }
                    }
                }
                Frame::Publish { count, message } => {
                    assert_eq!(count, self.known(self.author).0 + 1, "a message twice, or out of order");
                    self.log.push((self.author, count, message.to_vec()));
                    if self.gives_credit {
                        Frame::Credit { bytes: length as u32 }.encode(&mut out);
                    }
                }
                Frame::Rules { .. } => {}
                Frame::AskPosition { token } => {
                    Frame::Position { token, position: self.position() }.encode(&mut out);
                }
                other => panic!("{other:?}"),
            }
            taken += length;
        }
        input.drain(..taken);
        while let Some((author, count, message)) = self.log.get(self.delivered) {
            self.delivered += 1;
            let seq = self.delivered as u64;
            let frame = if *author == self.author {
                Frame::Own { count: *count, seq, run: 1 }
            } else {
                Frame::Message { seq, author: *author, count: *count, message }
            };
            frame.encode(&mut out);
        }
        out
    }
}

/// Counts of texts, to find what came twice.
pub(super) fn twice(log: &[(u64, Option<String>)]) -> Vec<String> {
    let mut counts = HashMap::new();
    log.iter().filter_map(|(_, text)| text.clone()).for_each(|text| *counts.entry(text).or_insert(0) += 1);
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(text, _)| text).collect()
}

/// A worker that a hub has welcomed.
pub(super) fn started(credit: u32) -> (Worker, Hub) {
    let (mut worker, mut hub) = (Worker::new(), Hub { credit, ..Hub::default() });
    worker.machine.connected();
    let answer = hub.receive(&worker.sent());
    worker.receive(&mut Vec::new(), &answer);
    worker.results.events.clear();
    (worker, hub)
}

/// The numbers that the messages of the worker have got.
pub(super) fn outcomes(worker: &Worker) -> Vec<Option<u64>> {
    worker.tickets.iter().map(|ticket| Some(ticket.outcome()?.ok()?.seq)).collect()
}

/// Wakes nothing.
pub(super) struct Quiet;

impl crate::channel::Wake for Quiet {
    fn wake(&self) {}
}
