//! The channels over an engine that numbers messages later, refuses, loses and begins anew: against the definition that
//! between two messages of a channel a reader either gets all others of the channel, or is told of a gap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::delayed::DelayedEngine;
use crate::channel::{
    Cancel, Change, ChangeKind, Channels, Cursor, Draft, EngineError, Epoch, Error, Event, Limits, Member, Message,
    Notice, Policy, Post, Reader, Receipt, Shape, Since, Subscription, Wake, client_id,
};

const DEADLINE: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 3;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn world(limits: Limits) -> (Arc<DelayedEngine>, Arc<Channels>) {
    let engine = DelayedEngine::new(3, Arc::new(Flag::default()));
    let channels = Channels::new(limits, Arc::clone(&engine) as _, None);
    channels.define("a", Policy { history: 1000, ..Policy::default() }, Instant::now());
    channels.define("b", Policy { history: 2, ..Policy::default() }, Instant::now());
    (engine, channels)
}

fn publish(channels: &Channels, name: &str) -> Receipt {
    channels.publish(&Draft::text(name, name.as_bytes()), Instant::now()).unwrap()
}

fn attach(channels: &Arc<Channels>, since: Since) -> Reader {
    let reader = Reader::attach(channels, client_id(3, 1), Arc::new(Flag::default()), since);
    NAMES.iter().for_each(|name| _ = reader.subscribe(Subscription::to(name), Instant::now()).unwrap());
    reader.open();
    reader
}

/// What a reader gets: the ids of messages, and the channels with gaps.
fn read(channels: &Channels, reader: &Reader) -> (Vec<Cursor>, Vec<String>) {
    channels.deliver();
    let (mut ids, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let mut text = Vec::new();
        let batch = reader.read(Shape::EventStream.into(), false, |bytes| text.extend_from_slice(&bytes));
        for notice in &batch.notices {
            match notice {
                Notice::Gap { channel, .. } => gaps.push(channel.to_string()),
                Notice::Open { gap, .. } => gaps.extend(gap.iter().map(ToString::to_string)),
                _ => {}
            }
        }
        for block in String::from_utf8(text).unwrap().split_terminator("\n\n") {
            if !block.contains("event: ") {
                ids.extend(block.lines().find_map(|line| line.strip_prefix("id: ")?.parse::<Cursor>().ok()));
            }
        }
        if !batch.more {
            return (ids, gaps);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish { channel: usize },
    Order { count: usize },
    Others { count: u64 },
    Room { room: usize },
    Lose,
    Reset { kept: bool },
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
                Some(cursor) if cursor.epoch == self.epoch => assert_eq!(self.truth[&cursor.seq], *channel),
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

#[test]
fn a_publisher_waits_for_room_and_no_longer_than_it_may() {
    let (engine, channels) = world(Limits { publish_timeout: DEADLINE, ..Limits::default() });
    engine.set_room(1);
    publish(&channels, "a");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| publish(&channels, "a"));
        // The log and the engine are free meanwhile.
        assert!(channels.history("a", Since::Now, 10, Instant::now()).messages.is_empty());
        engine.order(1);
        assert!(waits.join().unwrap().cursor().is_none());
    });
    assert_eq!(engine.queued(), 1);
    channels.configure(Limits { publish_timeout: Duration::ZERO, ..channels.limits() }, None);
    let refused = |channels: &Channels| channels.publish(&Draft::text("a", b"x"), Instant::now()).unwrap_err();
    assert_eq!(refused(&channels), Error::Engine(EngineError::Full));
    engine.set_away(true);
    assert_eq!(refused(&channels).to_string(), "the channels' engine is away, and its queue is full");
    assert_eq!(engine.queued(), 1);
}

#[test]
fn a_wait_can_be_cancelled() {
    let (engine, channels) = world(Limits::default());
    engine.set_room(0);
    let Post::Full(unsent) = channels.post(&Draft::text("a", b"x"), Instant::now()).unwrap() else {
        panic!("there is no room");
    };
    let (cancel, deadline) = (Cancel::default(), Instant::now() + DEADLINE);
    let mut unsent = Some(unsent);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| channels.post_later(&mut unsent, deadline, &cancel).is_none());
        channels.progress().unwrap().cancel(&cancel);
        assert!(waits.join().unwrap());
    });
    assert!(Instant::now() < deadline && unsent.is_some());
    // The message is still there, and can be tried again.
    engine.set_room(1);
    assert!(channels.post_later(&mut unsent, deadline, &Cancel::default()).is_some());
}

#[test]
fn a_thread_waits_for_what_its_process_has_published() {
    for lost in [false, true] {
        let (engine, channels) = world(Limits::default());
        assert_eq!(channels.unsettled(), None);
        let receipt = publish(&channels, "a");
        publish(&channels, "b");
        let submission = channels.unsettled().unwrap();
        assert!(!channels.is_settled(submission));
        let wait = |cancel: &Cancel, time| channels.progress().unwrap().wait(submission, Instant::now() + time, cancel);
        assert!(!wait(&Cancel::default(), Duration::ZERO));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| wait(&Cancel::default(), DEADLINE));
            if lost {
                engine.reset(false, 0, Vec::new(), Vec::new());
            } else {
                engine.order(2);
            }
            assert!(waits.join().unwrap());
        });
        assert_eq!(channels.unsettled(), None);
        assert_eq!(receipt.outcome().unwrap().is_none(), lost);
        assert_eq!(channels.history("a", Since::Now, 10, Instant::now()).messages.len(), usize::from(!lost));
    }
}

#[test]
fn a_message_is_in_memory_once() {
    let (engine, channels) = world(Limits::default());
    publish(&channels, "a");
    let ordered = engine.order(1);
    let kept = channels.history("a", Since::Now, 1, Instant::now()).messages;
    assert!(Arc::ptr_eq(&ordered[0].0, &kept[0]));
}

#[test]
fn a_reset_brings_a_history_with_its_floors() {
    let (engine, channels) = world(Limits::default());
    let (first, second) = (publish(&channels, "a"), publish(&channels, "c"));
    engine.order(2);
    let reader = attach(&channels, Since::Now);
    assert_eq!(read(&channels, &reader), (vec![], vec![]));
    let message = |name: &str, seq| {
        let message = Message::new(&Draft::text(name, b"old"), &Limits::default(), Instant::now()).unwrap();
        message.number(seq);
        message
    };
    let history = vec![message("a", 90), message("b", 95), message("a", 99)];
    engine.reset(false, 100, history, vec![("a".into(), 80), ("b".into(), 94)]);
    // Every channel has a gap, and the client stands in the new epoch.
    assert_eq!(read(&channels, &reader), (vec![], NAMES.map(str::to_owned).to_vec()));
    let now = channels.cursor();
    assert_eq!((reader.cursor(), now.seq), (now, 100));
    let seqs = |name: &str, seq| {
        let since = Since::After(Cursor { seq, ..now });
        let past = channels.history(name, since, 10, Instant::now());
        assert_eq!(past.epoch, now.epoch);
        (past.messages.iter().map(|message| message.seq()).collect::<Vec<_>>(), past.complete)
    };
    assert_eq!(seqs("a", 80), (vec![90, 99], true));
    assert_eq!(seqs("a", 79), (vec![90, 99], false));
    assert_eq!(seqs("b", 94), (vec![95], true));
    assert_eq!(seqs("c", 99), (vec![], false));
    assert_eq!(seqs("c", 100), (vec![], true));
    // What pages carry from before.
    for old in [first, second].map(|receipt| receipt.cursor().unwrap()) {
        assert!(!channels.history("a", Since::After(old), 10, Instant::now()).complete);
    }
    publish(&channels, "b");
    engine.order(1);
    assert_eq!(read(&channels, &reader).0, [Cursor { seq: 101, ..now }]);
}

#[test]
fn a_reader_that_was_not_told_where_it_starts_is_told_once() {
    let (engine, channels) = world(Limits::default());
    publish(&channels, "a");
    engine.order(1);
    let start = Cursor { seq: 0, ..channels.cursor() };
    let early = Reader::attach(&channels, 1, Arc::new(Flag::default()), Since::After(start));
    assert_eq!(early.subscribe(Subscription::to("a"), Instant::now()), Ok(Some(true)));
    let opened = attach(&channels, Since::After(start));
    engine.reset(false, 7, Vec::new(), Vec::new());
    channels.deliver();
    assert_eq!(early.open(), Some(false));
    for (reader, gap) in [(&early, &["a"][..]), (&opened, &NAMES[..])] {
        let batch = reader.read(Shape::EventStream.into(), false, drop);
        let gap = gap.iter().map(|name| (*name).into()).collect();
        assert_eq!(batch.notices, [Notice::Open { cursor: channels.cursor(), recovered: Some(false), gap }]);
        assert_eq!(batch.messages, 0);
    }
}

fn join(channels: &Arc<Channels>, client: u64, name: &str) -> Reader {
    let reader = Reader::attach(channels, client, Arc::new(Flag::default()), Since::Now);
    let member = Some(Member { name, info: "1" });
    reader.subscribe(Subscription { member, ..Subscription::to("room") }, Instant::now()).unwrap();
    reader.open();
    reader
}

/// The names of those who were announced, joins with a plus.
fn announced(channels: &Channels, reader: &Reader) -> Vec<String> {
    channels.deliver();
    let mut all = Vec::new();
    reader.read_messages(|message| {
        let payload = String::from_utf8_lossy(message.payload()).into_owned();
        let name = payload.split("\"member\":\"").nth(1).unwrap().split('"').next().unwrap();
        all.push(format!("{}{name}", if payload.contains("info") { "+" } else { "-" }));
    });
    all
}

#[test]
fn members_come_and_go_when_the_engine_says_so() {
    let (engine, channels) = world(Limits::default());
    channels.define("room", Policy { presence: true, ..Policy::default() }, Instant::now());
    let ana = join(&channels, client_id(3, 1), "ana");
    assert!(channels.present("room").is_empty());
    engine.order(10);
    // The announcement is a message of its own, behind the change.
    assert_eq!((channels.present("room").len(), engine.order(10).len()), (1, 1));
    // Full: the change waits, and the last one counts.
    engine.set_room(0);
    let bob = join(&channels, client_id(3, 2), "bob");
    bob.detach(Instant::now());
    let cid = join(&channels, client_id(3, 3), "cid");
    engine.set_room(usize::MAX);
    channels.deliver();
    assert_eq!(engine.queued(), 1, "bob has come and gone before the engine knew");
    engine.order(10);
    channels.deliver();
    engine.set_room(0);
    cid.detach(Instant::now());
    // Another process's client, of which that process tells.
    let change = |kind| Event::Member(Change { channel: "room".into(), member: "dan".into(), kind });
    engine.event(change(ChangeKind::Join { client: client_id(4, 1), info: "1".into() }));
    engine.set_room(usize::MAX);
    channels.deliver();
    engine.order(10);
    assert_eq!(announced(&channels, &ana), ["+cid"]);
    let names =
        |channels: &Channels| channels.present("room").iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&channels), ["ana", "cid", "dan"]);
    let later = Instant::now() + Duration::from_secs(60);
    channels.sweep(later);
    engine.order(10);
    channels.deliver();
    engine.order(10);
    assert_eq!(announced(&channels, &ana), ["-cid"]);
    // The engine forgets: members whose clients do not come back leave after the linger.
    engine.reset(false, 0, Vec::new(), Vec::new());
    channels.deliver();
    engine.order(10);
    assert_eq!(names(&channels), ["ana", "dan"]);
    channels.sweep(later);
    engine.order(10);
    assert_eq!(names(&channels), ["ana"]);
}

#[test]
fn a_client_that_goes_while_the_engine_begins_anew_is_not_left_behind() {
    for left_before in [false, true] {
        let (engine, channels) = world(Limits { linger: Duration::ZERO, ..Limits::default() });
        channels.define("room", Policy { presence: true, ..Policy::default() }, Instant::now());
        let ana = join(&channels, client_id(3, 1), "ana");
        // The engine has the join, and takes nothing more.
        engine.set_room(0);
        let mut ana = Some(ana);
        drop(ana.take_if(|_| left_before));
        engine.reset(true, 0, Vec::new(), Vec::new());
        channels.deliver();
        drop(ana);
        engine.set_room(usize::MAX);
        for _ in 0..4 {
            engine.order(usize::MAX);
            channels.sweep(Instant::now());
        }
        assert!(channels.present("room").is_empty());
    }
}

#[test]
fn other_processes_close_a_members_clients() {
    let (engine, channels) = world(Limits::default());
    let ana = join(&channels, client_id(3, 1), "ana");
    engine.event(Event::Disconnect { member: "ana".into() });
    channels.deliver();
    assert_eq!(channels.take_dismissed(), [ana.id()]);
    assert!(channels.take_dismissed().is_empty());
}

/// Two threads join, leave, sweep and publish; a third is the engine, which is full now and then and begins anew.
#[test]
fn two_threads_and_an_engine() {
    const ROUNDS: u64 = 2000;
    let (engine, channels) = world(Limits { publish_timeout: DEADLINE, linger: Duration::ZERO, ..Limits::default() });
    channels.define("room", Policy { presence: true, ..Policy::default() }, Instant::now());
    let running = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (channels, running) = (&channels, &running);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                let mut readers = Vec::new();
                for round in 0..ROUNDS {
                    let client = client_id(3, thread * ROUNDS + round);
                    match random.u8(..5) {
                        0 => readers.push(join(channels, client, NAMES[random.usize(..3)])),
                        1 if !readers.is_empty() => drop(readers.swap_remove(random.usize(..readers.len()))),
                        2 => channels.sweep(Instant::now()),
                        3 => _ = announced(channels, &readers.pop().unwrap_or_else(|| join(channels, client, "a"))),
                        _ => _ = publish(channels, "a"),
                    }
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let mut random = fastrand::Rng::with_seed(9);
        while running.load(Ordering::Acquire) > 0 {
            engine.set_room([0, 2, 100][random.usize(..3)]);
            engine.order(random.usize(..8));
            if random.u8(..) == 0 {
                engine.reset(random.bool(), 0, Vec::new(), Vec::new());
            }
            channels.deliver();
            std::thread::yield_now();
        }
    });
    engine.set_room(usize::MAX);
    // All have gone: their members leave, and nothing is left.
    for _ in 0..10 {
        channels.sweep(Instant::now() + DEADLINE);
        engine.order(usize::MAX);
    }
    channels.deliver();
    assert!(channels.present("room").is_empty());
    assert_eq!((channels.unsettled(), channels.figures().readers), (None, 0));
}
