//! A model over an engine: between two messages of a channel a reader either gets all others of the channel, or is told of
//! a gap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{NAMES, attach, read, world};
use crate::channel::tests::delayed::DelayedEngine;
use crate::channel::{Channels, Cursor, Draft, Epoch, Limits, Post, Reader, Receipt, Since};

const CLIENTS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Publish { channel: usize },
    Order { count: usize },
    Others { count: u64 },
    Room { room: usize },
    Lose,
    Reset { kept: bool },
    CatchUp { missed: Vec<(usize, bool)> },
    Connect { client: usize },
    Read { client: usize },
    Disconnect { client: usize },
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let step = prop_oneof![
        12 => (0..NAMES.len()).prop_map(|channel| Step::Publish { channel }),
        8 => (0usize..6).prop_map(|count| Step::Order { count }),
        2 => (1u64..4).prop_map(|count| Step::Others { count }),
        2 => prop_oneof![Just(0usize), Just(4), Just(usize::MAX)].prop_map(|room| Step::Room { room }),
        1 => Just(Step::Lose),
        1 => any::<bool>().prop_map(|kept| Step::Reset { kept }),
        2 => prop::collection::vec((0..NAMES.len(), any::<bool>()), 0..6).prop_map(|missed| Step::CatchUp { missed }),
        4 => client().prop_map(|client| Step::Connect { client }),
        8 => client().prop_map(|client| Step::Read { client }),
        2 => client().prop_map(|client| Step::Disconnect { client }),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 0..200)
}

/// A client, over all its connections.
#[derive(Default)]
struct Client {
    reader: Option<Reader>,
    cursor: Option<Cursor>,
    /// For each channel, the number up to which the client has got all or was told of a gap; `None` after a gap.
    complete: [Option<u64>; NAMES.len()],
}

/// The model: all messages that got numbers in the present epoch.
struct World {
    engine: Arc<DelayedEngine>,
    channels: Arc<Channels>,
    epoch: Epoch,
    truth: BTreeMap<u64, usize>,
    clients: [Client; CLIENTS],
    receipts: Vec<(Receipt, usize)>,
    refused: usize,
}

impl World {
    fn new() -> Self {
        let (engine, channels) = world(Limits { publish_timeout: Duration::ZERO, ..Limits::default() });
        let epoch = channels.cursor().epoch;
        let truth = BTreeMap::new();
        World { engine, channels, epoch, truth, clients: Default::default(), receipts: Vec::new(), refused: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { channel } => {
                match self.channels.post(&Draft::text(NAMES[channel], b"x"), Instant::now()).unwrap() {
                    Post::Done(posted) => {
                        assert!(posted.receipt.outcome().is_none(), "it has a number before the engine gave one");
                        self.receipts.push((posted.receipt, channel));
                    }
                    Post::Full(_) => self.refused += 1,
                }
            }
            Step::Order { count } => self.order(count),
            Step::Others { count } => self.engine.skip(count),
            Step::Room { room } => self.engine.set_room(room),
            Step::Lose => {
                // What the process has not taken is not lost: it comes first.
                self.engine.lose(2);
                self.forget_all();
            }
            Step::Reset { kept } => {
                self.engine.reset(kept, 5, Vec::new(), Vec::new());
                self.epoch = self.channels.cursor().epoch;
                self.truth.clear();
                self.forget_all();
            }
            Step::CatchUp { missed } => self.catch_up(&missed),
            Step::Connect { client } => self.connect(client),
            Step::Read { client } => self.read(client),
            Step::Disconnect { client } => self.clients[client].reader = None,
            Step::Sweep => self.channels.sweep(Instant::now()),
        }
    }

    fn order(&mut self, count: usize) {
        for (message, cursor) in self.engine.order(count) {
            let channel = NAMES.iter().position(|name| **name == **message.channel()).unwrap();
            assert_eq!(cursor.epoch, self.epoch);
            self.truth.insert(cursor.seq, channel);
        }
    }

    /// Readers must be told of a gap in the channels of which a message is lost, and of no other.
    fn catch_up(&mut self, missed: &[(usize, bool)]) {
        let named: Vec<_> = missed.iter().map(|(channel, kept)| (NAMES[*channel], *kept)).collect();
        for (seq, name) in self.engine.catch_up(&named) {
            let channel = NAMES.iter().position(|other| **other == name).unwrap();
            self.truth.insert(seq, channel);
        }
        for (channel, _) in missed.iter().filter(|(_, kept)| !kept) {
            for client in &mut self.clients {
                client.complete[*channel] = Some(u64::MAX);
            }
        }
    }

    /// Readers must be told of a gap in each of their channels before they get another message.
    fn forget_all(&mut self) {
        for client in &mut self.clients {
            client.complete = [Some(u64::MAX); NAMES.len()];
        }
    }

    fn connect(&mut self, client: usize) {
        let own = &mut self.clients[client];
        if own.reader.is_some() {
            return;
        }
        own.reader = Some(attach(&self.channels, own.cursor.map_or(Since::Now, Since::After)));
        if own.cursor.is_none() {
            own.complete = [None; NAMES.len()];
        }
    }

    fn read(&mut self, client: usize) {
        let own = &mut self.clients[client];
        let Some(reader) = &own.reader else { return };
        let (ids, gaps) = read(&self.channels, reader);
        for gap in gaps {
            let channel = NAMES.iter().position(|name| **name == gap).unwrap();
            own.complete[channel] = None;
        }
        for id in ids {
            if id.epoch != self.epoch {
                panic!("a message of {} in the epoch {}", id.epoch, self.epoch);
            }
            assert!(own.cursor.is_none_or(|old| old.epoch != id.epoch || old.seq < id.seq), "ids ran backwards");
            own.cursor = Some(id);
            let channel = self.truth[&id.seq];
            if let Some(last) = own.complete[channel] {
                assert_ne!(last, u64::MAX, "no gap was announced");
                let missed = self.truth.range(last + 1..id.seq).find(|(_, other)| **other == channel);
                assert_eq!(missed, None, "a silent hole behind {last}");
            }
            own.complete[channel] = Some(id.seq);
        }
        // All that has a number was read or announced.
        for (channel, complete) in own.complete.iter().enumerate() {
            if let Some(last) = complete {
                assert_ne!(*last, u64::MAX, "no gap was announced");
                let missed = self.truth.range(last + 1..).find(|(_, other)| **other == channel);
                assert_eq!(missed, None, "the end is missing behind {last}");
            }
        }
    }

    fn finish(mut self) {
        self.engine.set_room(usize::MAX);
        self.order(usize::MAX);
        (0..CLIENTS).for_each(|client| self.read(client));
        assert_eq!(self.channels.unsettled(), None);
        for (receipt, channel) in &self.receipts {
            match receipt.outcome().expect("neither numbered nor lost") {
                Ok(cursor) if cursor.epoch == self.epoch => assert_eq!(self.truth[&cursor.seq], *channel),
                _ => {}
            }
        }
        // A page that was rendered in another epoch is told of a gap.
        let old = attach(&self.channels, Since::After(Cursor { epoch: Epoch::from(1), seq: 1 }));
        assert_eq!(read(&self.channels, &old).1, NAMES);
    }
}

proptest! {
    #[test]
    fn nothing_is_missing_in_silence(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    }
}

/// The same from a fixed seed, and longer.
#[test]
fn nothing_is_missing_in_a_long_run() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let mut world = World::new();
    let mut refused = false;
    for _ in 0..200 {
        steps().new_tree(&mut runner).unwrap().current().into_iter().for_each(|step| world.step(step));
        refused |= world.refused > 0;
    }
    assert!(refused && world.receipts.len() > 1000);
    world.finish();
}
