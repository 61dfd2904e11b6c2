//! The channels over an engine that numbers messages later, refuses, loses and begins anew.

mod members;
mod model;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Quiet;
use super::delayed::DelayedEngine;
use crate::channel::{
    Cancel, Channels, Cursor, Draft, EngineError, Error, Limits, Message, Notice, Policy, Post, Reader, Receipt, Shape,
    Since, Subscription, Target, client_id,
};

const DEADLINE: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["a", "b", "c"];

fn world(limits: Limits) -> (Arc<DelayedEngine>, Arc<Channels>) {
    let engine = DelayedEngine::new(3, Arc::new(Quiet));
    let channels = Channels::new(limits, Arc::clone(&engine) as _, None);
    channels.define("a", Policy { history: 1000, ..Policy::default() }, Instant::now());
    channels.define("b", Policy { history: 2, ..Policy::default() }, Instant::now());
    (engine, channels)
}

fn publish(channels: &Channels, name: &str) -> Receipt {
    channels.publish(&Draft::text(name, name.as_bytes()), Instant::now()).unwrap()
}

fn attach(channels: &Arc<Channels>, since: Since) -> Reader {
    let reader = Reader::attach(channels, client_id(3, 1), Arc::new(Quiet), since);
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
        assert_eq!(receipt.outcome().unwrap().is_err(), lost);
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
fn a_process_that_was_away_tells_of_gaps_only_where_messages_are_lost() {
    let (engine, channels) = world(Limits::default());
    publish(&channels, "a");
    publish(&channels, "b");
    engine.order(2);
    let [live, behind] = [(); 2].map(|()| attach(&channels, Since::Now));
    let seqs = |reader: &Reader| {
        let (ids, gaps) = read(&channels, reader);
        (ids.iter().map(|id| id.seq).collect::<Vec<_>>(), gaps)
    };
    assert_eq!(seqs(&live), (vec![], vec![]));
    publish(&channels, "a");
    engine.order(1);
    assert_eq!(seqs(&live), (vec![3], vec![]));
    engine.catch_up(&[("a", true), ("b", false), ("b", true), ("a", true)]);
    let pattern = Reader::attach(&channels, client_id(3, 2), Arc::new(Quiet), Since::Now);
    pattern.subscribe(Subscription { target: Target::Pattern("*"), ..Subscription::to("") }, Instant::now()).unwrap();
    pattern.open();
    assert_eq!(seqs(&pattern), (vec![], vec![]));
    assert_eq!(seqs(&live), (vec![4, 6, 7], vec!["b".to_owned()]));
    // This one has read nothing, and nothing of its channel is lost.
    assert_eq!(seqs(&behind), (vec![3, 4, 6, 7], vec!["b".to_owned()]));
    // Nothing is missing for a page from before, except in the channel with the gap.
    let complete = |name| {
        let since = Since::After(Cursor { seq: 2, ..channels.cursor() });
        channels.history(name, since, 10, Instant::now()).complete
    };
    assert_eq!(["a", "b", "c"].map(complete), [true, false, true]);
    // A pattern has a gap if any channel that it matches has one.
    engine.catch_up(&[("c", false), ("a", true)]);
    assert_eq!(seqs(&pattern), (vec![9], vec!["*".to_owned()]));
}

#[test]
fn a_reader_that_was_not_told_where_it_starts_is_told_once() {
    let (engine, channels) = world(Limits::default());
    publish(&channels, "a");
    engine.order(1);
    let start = Cursor { seq: 0, ..channels.cursor() };
    let early = Reader::attach(&channels, 1, Arc::new(Quiet), Since::After(start));
    assert_eq!(early.subscribe(Subscription::to("a"), Instant::now()), Ok(Some(true)));
    let opened = attach(&channels, Since::After(start));
    engine.reset(false, 7, Vec::new(), Vec::new());
    channels.deliver();
    assert_eq!(early.open(), Some(false));
    for (reader, gap) in [(&early, &["a"][..]), (&opened, &NAMES[..])] {
        let batch = reader.read(Shape::EventStream.into(), false, drop);
        let gap = gap.iter().map(|name| (*name).into()).collect();
        assert_eq!(
            batch.notices,
            [Notice::Open { cursor: channels.cursor(), recovered: Some(false), gap, lost: false }]
        );
        assert_eq!(batch.messages, 0);
    }
}
