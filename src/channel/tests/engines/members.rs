//! Members over an engine: they come and go in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{DEADLINE, NAMES, publish, world};
use crate::channel::tests::Quiet;
use crate::channel::{
    Change, ChangeKind, Channels, Command, Limits, Member, Notice, Policy, PresentMember, Reader, Reset, Shape, Since,
    Subscription, client_id,
};

fn join(channels: &Arc<Channels>, client: u64, name: &str) -> Reader {
    let reader = Reader::attach(channels, client, Arc::new(Quiet), Since::Now);
    let member = Some(Member { name, info: "1" });
    reader.subscribe(Subscription { member, ..Subscription::to("room") }, Instant::now()).unwrap();
    reader.open();
    reader
}

/// The names of the members that were announced, joins with a plus.
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
    assert_eq!((channels.present("room").len(), engine.queued()), (1, 0));
    // Full: the change waits, and the last one counts.
    engine.set_room(0);
    let bob = join(&channels, client_id(3, 2), "bob");
    drop(bob);
    let cid = join(&channels, client_id(3, 3), "cid");
    engine.set_room(usize::MAX);
    channels.deliver();
    assert_eq!(engine.queued(), 1, "bob has come and gone before the engine knew");
    engine.order(10);
    channels.deliver();
    engine.set_room(0);
    drop(cid);
    // Another process's client, of which that process tells.
    let kind = ChangeKind::Join { client: client_id(4, 1), info: "1".into() };
    engine.other(Command::Member(Change { channel: "room".into(), member: "dan".into(), kind }));
    engine.set_room(usize::MAX);
    channels.deliver();
    engine.order(10);
    assert_eq!(announced(&channels, &ana), ["+cid", "+dan"]);
    let names =
        |channels: &Channels| channels.present("room").iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&channels), ["ana", "cid", "dan"]);
    let later = Instant::now() + Duration::from_secs(60);
    channels.sweep(later);
    engine.order(10);
    assert_eq!(announced(&channels, &ana), ["-cid"]);
    // The engine has another table: its readers get all members, and members whose clients do not come back leave after the
    // linger.
    let dan = PresentMember { channel: "room".into(), member: "dan".into(), info: "1".into(), clients: Vec::new() };
    engine.reset_with(false, Reset { members: vec![dan.clone()], ..engine.empty() });
    channels.deliver();
    let batch = ana.read(Shape::EventStream.into(), false, drop);
    let here = Notice::Here { channel: "room".into(), members: vec![("dan".into(), "1".into())] };
    assert!(batch.notices.contains(&here), "{batch:?}");
    engine.order(10);
    assert_eq!(names(&channels), ["ana", "dan"]);
    channels.sweep(later);
    engine.order(10);
    assert_eq!(names(&channels), ["ana"]);
}

/// What a reader is told of members, in order: the whole list in brackets, then joins and leaves.
fn told(channels: &Channels, reader: &Reader) -> Vec<String> {
    channels.deliver();
    let mut all = Vec::new();
    let batch = reader.read(Shape::EventStream.into(), false, |bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names = |text: &str| {
            text.split('"').filter(|part| ["ana", "bob", "cid", "dan"].contains(part)).collect::<Vec<_>>().join(" ")
        };
        all.extend(text.split("\n\n").filter_map(
            |block| match block.split_once("event: push.")?.1.split_once('\n')? {
                ("here", data) => Some(format!("[{}]", names(data))),
                ("join", data) => Some(format!("+{}", names(data))),
                ("leave", data) => Some(format!("-{}", names(data))),
                _ => None,
            },
        ));
    });
    assert!(!batch.more);
    all
}

#[test]
fn a_new_member_is_told_once_of_those_that_come_while_it_comes() {
    let (engine, channels) = world(Limits { linger: Duration::ZERO, ..Limits::default() });
    channels.define("room", Policy { presence: true, ..Policy::default() }, Instant::now());
    let ana = join(&channels, client_id(3, 1), "ana");
    let other = |member: &str, kind: ChangeKind| {
        engine.other(Command::Member(Change { channel: "room".into(), member: member.into(), kind }));
    };
    let client = client_id(4, 1);
    other("bob", ChangeKind::Join { client, info: "1".into() });
    other("cid", ChangeKind::Join { client, info: "1".into() });
    other("cid", ChangeKind::Leave { client });
    other("cid", ChangeKind::Expire);
    engine.order(1);
    other("dan", ChangeKind::Join { client, info: "1".into() });
    assert_eq!(told(&channels, &ana), ["[ana bob]", "+dan"]);
}

#[test]
fn a_reader_that_has_not_read_of_a_join_is_not_told_of_it_after_the_list_that_lacks_the_member() {
    let (engine, channels) = world(Limits::default());
    channels.define("room", Policy { presence: true, ..Policy::default() }, Instant::now());
    let ana = join(&channels, client_id(3, 1), "ana");
    engine.order(1);
    assert_eq!(told(&channels, &ana), ["[ana]"]);
    let join = || ChangeKind::Join { client: client_id(4, 1), info: "1".into() };
    engine.other(Command::Member(Change { channel: "room".into(), member: "bob".into(), kind: join() }));
    channels.deliver();
    // The process misses that bob leaves.
    let here = PresentMember {
        channel: "room".into(),
        member: "ana".into(),
        info: "1".into(),
        clients: vec![client_id(3, 1)],
    };
    engine.catch_up_with(&[("other", true)], vec![here]);
    assert_eq!(told(&channels, &ana), ["[ana]"]);
    engine.other(Command::Member(Change { channel: "room".into(), member: "bob".into(), kind: join() }));
    assert_eq!(told(&channels, &ana), ["+bob"]);
}

/// The leave is lost with the messages that the reader had not read, and the members are the same before and after.
#[test]
fn a_reader_that_loses_what_it_has_not_read_is_told_of_all_members() {
    for same_epoch in [false, true] {
        let (engine, channels) = world(Limits::default());
        channels.define("room", Policy { presence: true, ..Policy::default() }, Instant::now());
        let ana = join(&channels, client_id(3, 1), "ana");
        engine.order(1);
        let bob = |kind| engine.other(Command::Member(Change { channel: "room".into(), member: "bob".into(), kind }));
        let client = client_id(4, 1);
        bob(ChangeKind::Join { client, info: "1".into() });
        assert_eq!(told(&channels, &ana), ["[ana]", "+bob"]);
        bob(ChangeKind::Leave { client });
        bob(ChangeKind::Expire);
        channels.deliver();
        let clients = vec![client_id(3, 1)];
        let members = vec![PresentMember { channel: "room".into(), member: "ana".into(), info: "1".into(), clients }];
        if same_epoch {
            engine.catch_up_with(&[("room", false)], members);
        } else {
            engine.reset_with(true, Reset { members, ..engine.empty() });
        }
        assert_eq!(told(&channels, &ana), ["[ana]"]);
    }
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
        let room = PresentMember {
            channel: "room".into(),
            member: "ana".into(),
            info: "1".into(),
            clients: vec![client_id(3, 1)],
        };
        engine.reset_with(true, Reset { members: vec![room], ..engine.empty() });
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
    for (done, closed) in [(Some(3), &[][..]), (Some(4), &[ana.id()]), (None, &[ana.id()])] {
        engine.other(Command::Disconnect { member: "ana".into(), done });
        channels.deliver();
        assert_eq!(channels.take_dismissed(), closed);
        assert!(channels.take_dismissed().is_empty());
    }
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
