use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use super::author::bytes_of;
use super::world::World;
use crate::engine::hub::protocol::{Frame, Position, Refusal, Role, VERSION, Welcome, decode};
use crate::engine::hub::server::{Hub, NumberStore, PeerId, Settings, Start};

/// A hub without a past.
pub(super) fn first_hub() -> Hub {
    Hub::new(Settings::default(), NumberStore::anonymous().unwrap(), Start::First, Instant::now())
}

/// A peer sends a frame.
pub(super) fn send(hub: &mut Hub, id: PeerId, frame: &Frame<'_>) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    hub.receive(id, &bytes);
}

/// A worker connects.
pub(super) fn worker(hub: &mut Hub, process: u32, position: Option<Position>) -> PeerId {
    let id = hub.connect_worker(process);
    send(
        hub,
        id,
        &Frame::Hello {
            version: VERSION,
            role: Role::Worker,
            author: process.into(),
            settled: 0,
            commands: 0,
            position,
        },
    );
    id
}

/// A peer publishes a message.
pub(super) fn publish(hub: &mut Hub, id: PeerId, author: u128, count: u64) {
    send(hub, id, &Frame::Publish { count, message: &bytes_of((author, count)) });
}

/// An outsider connects.
pub(super) fn outsider(hub: &mut Hub, author: u128) -> PeerId {
    let id = hub.connect_outsider();
    send(
        hub,
        id,
        &Frame::Hello { version: VERSION, role: Role::Outsider, author, settled: 0, commands: 0, position: None },
    );
    id
}

/// What the hub writes to a peer.
pub(super) fn written(hub: &mut Hub, id: PeerId) -> Vec<u8> {
    let mut bytes = Vec::new();
    hub.flush(id, |slices| {
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    });
    hub.progress();
    bytes
}

/// The frames in these bytes.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = decode(bytes, usize::MAX).unwrap() {
        frames.push(frame);
        bytes = &bytes[length..];
    }
    frames
}

/// The first worker is cut off while what it has sent is numbered, which it does not know: messages, or members.
fn cut_off(seed: u64, members: bool) -> World {
    let mut world = World::new(seed);
    world.turns(20);
    world.stop(0, true);
    // More than its socket takes.
    world.publish_blindly(1, 40);
    world.turns(20);
    if members {
        world.join_blindly(0, 3)
    } else {
        world.publish_blindly(0, 3)
    };
    world.turns(40);
    assert!(world.living().peers.values().any(|peer| peer.place.as_ref().is_some_and(|place| !place.attached)));
    world
}

#[test]
fn entries_of_a_worker_that_is_cut_off_have_one_number_also_if_the_hub_dies() {
    for (more, members) in [(0, false), (200, false), (0, true), (200, true)] {
        let mut world = cut_off(1, members);
        world.publish_blindly(1, more);
        world.turns(100);
        world.restart_hub();
        world.turns(30);
        assert!(world.living().is_serving());
        world.stop(0, false);
        world.finish();
    }
}

#[test]
fn entries_of_a_worker_that_is_silent_for_two_hubs_have_one_number() {
    for members in [false, true] {
        let mut world = cut_off(1, members);
        (0..2).for_each(|_| {
            world.restart_hub();
            world.turns(100);
        });
        world.stop(0, false);
        world.finish();
    }
}

#[test]
fn a_worker_that_was_cut_off_learns_of_its_entries_that_the_log_has_no_more() {
    for members in [false, true] {
        let mut world = cut_off(1, members);
        world.publish_blindly(1, 200);
        world.turns(100);
        world.stop(0, false);
        world.finish();
    }
}

#[test]
fn a_hub_that_was_paused_does_not_take_its_workers_for_silent() {
    let mut world = World::new(1);
    world.turns(20);
    world.publish_blindly(1, 40);
    world.turns(20);
    let position = world.living().position();
    world.restart_hub();
    world.pass_time(Duration::from_secs(60));
    assert!(!world.living().is_serving());
    world.turns(20);
    assert_eq!(world.living().position(), position);
    world.finish();
}

#[test]
fn a_worker_has_time_to_answer_once_the_supervisor_has_connected_it() {
    let (mut now, numbers) = (Instant::now(), NumberStore::anonymous().unwrap());
    let settings = Settings::default();
    drop(Hub::new(settings, numbers.clone(), Start::First, now));
    let mut hub = Hub::new(settings, numbers, Start::Recover { processes: [1].into(), handover: false }, now);
    let mut look = |hub: &mut Hub, times: u32| {
        for _ in 0..times {
            now += settings.patience / 4;
            hub.tick(now, SystemTime::now());
        }
        hub.is_serving()
    };
    assert!(!look(&mut hub, 10));
    hub.connect_worker(1);
    assert!(!look(&mut hub, 4));
    assert!(look(&mut hub, 1));
}

#[test]
fn an_author_that_has_missed_a_refusal_gets_it_when_it_comes_back() {
    let mut hub = first_hub();
    let id = outsider(&mut hub, 7);
    for count in 1..=4 {
        let good = bytes_of((7, count));
        send(&mut hub, id, &Frame::Publish { count, message: if count % 2 == 0 { b"broken" } else { &good } });
    }
    hub.end_turn();
    hub.gone(id);
    let id = outsider(&mut hub, 7);
    let bytes = written(&mut hub, id);
    let frames = frames(&bytes);
    assert!(matches!(frames[0], Frame::Welcome(Welcome { count: 4, seq: 0, .. })), "{frames:?}");
    let of = |wanted: fn(&Frame<'_>) -> Option<u64>| frames.iter().filter_map(wanted).collect::<Vec<_>>();
    assert_eq!(of(|frame| if let Frame::Refused { count, .. } = frame { Some(*count) } else { None }), [2, 4]);
    assert_eq!(of(|frame| if let Frame::Numbered { count, .. } = frame { Some(*count) } else { None }), [1, 3]);
}

#[test]
fn a_refusal_does_not_wait_for_credit() {
    let mut hub = first_hub();
    let id = outsider(&mut hub, 7);
    assert_eq!(hub.next_writer(), Some(id));
    written(&mut hub, id);
    // Its last message was in a turn before, and credit was held back.
    hub.peers.get_mut(&id).unwrap().owed = 1;
    send(&mut hub, id, &Frame::Publish { count: 1, message: b"broken" });
    hub.end_turn();
    assert_eq!(hub.next_writer(), Some(id));
    assert!(matches!(frames(&written(&mut hub, id))[0], Frame::Refused { count: 1, .. }));
}

#[test]
fn nobody_waits_for_a_peer_that_is_gone() {
    let mut hub = first_hub();
    let ids = [outsider(&mut hub, 7), outsider(&mut hub, 8)];
    assert!(hub.has_writers());
    ids.into_iter().for_each(|id| hub.gone(id));
    assert!(!hub.has_writers() && hub.is_idle());
}

#[test]
fn an_author_that_is_back_is_not_waited_for() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let before = outsider(&mut hub, 7);
    publish(&mut hub, before, 7, 1);
    hub.end_turn();
    // It connects again before the hub has seen the end of its connection.
    outsider(&mut hub, 7);
    assert!(hub.absent.is_empty() && !hub.peers.contains_key(&before));
}

#[test]
fn the_highest_counts_that_there_are_do_no_harm() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let (id, other) = (outsider(&mut hub, 7), outsider(&mut hub, 8));
    publish(&mut hub, id, 7, u64::MAX - 1);
    publish(&mut hub, id, 7, u64::MAX);
    publish(&mut hub, id, 7, 0);
    publish(&mut hub, other, 8, 1);
    hub.end_turn();
    let again = hub.connect_outsider();
    let settled = u64::MAX;
    send(
        &mut hub,
        again,
        &Frame::Hello { version: VERSION, role: Role::Outsider, author: 7, settled, commands: 0, position: None },
    );
    assert_eq!(hub.position().last, 3);
}

#[test]
fn a_worker_has_its_log_also_when_the_last_piece_has_no_bytes() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    hub.peers.get_mut(&one).unwrap().stage_log(bytes::Bytes::new(), 9);
    assert!(written(&mut hub, one).is_empty());
    assert_eq!(hub.peers[&one].place.as_ref().unwrap().sent, 9);
}

#[test]
fn a_message_of_a_worker_that_is_too_long_is_refused_and_the_connection_stays() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let message = vec![b'x'; hub.longest() + 1000];
    send(&mut hub, one, &Frame::Publish { count: 1, message: &message });
    let bytes = written(&mut hub, one);
    let refused = Frame::Refused { count: 1, reason: Refusal::TooLong };
    assert!(frames(&bytes).contains(&refused) && hub.next_closed().is_none());
}

#[test]
fn a_turn_looks_at_all_peers_a_few_times_however_many_there_are() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let authors: Vec<_> = (100..600).map(|author| (author, outsider(&mut hub, author))).collect();
    authors.iter().for_each(|(author, id)| publish(&mut hub, *id, *author, 1));
    let looks = hub.looks;
    hub.end_turn();
    let mut answered = BTreeSet::new();
    while let Some(id) = hub.next_writer() {
        hub.flush(id, |slices| {
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let answers = frames(&bytes).iter().any(|frame| matches!(frame, Frame::Numbered { .. }));
            answered.extend(answers.then_some(id));
            Ok(bytes.len())
        });
    }
    assert!(answered.into_iter().eq(authors.into_iter().map(|(_, id)| id)));
    assert!(hub.looks - looks < 10, "{} looks", hub.looks - looks);
    assert!(!hub.has_writers());
}

#[test]
fn a_refusal_that_was_lost_with_a_hub_comes_again_from_the_next_one() {
    for kind in [Role::Worker, Role::Outsider] {
        let numbers = NumberStore::anonymous().unwrap();
        let mut hub = Hub::new(Settings::default(), numbers.clone(), Start::First, Instant::now());
        let one = worker(&mut hub, 1, None);
        written(&mut hub, one);
        let author = if kind == Role::Worker { one } else { outsider(&mut hub, 7) };
        let messages = [vec![0; 10], vec![b'x'; hub.longest() - 1]];
        let refuse = |hub: &mut Hub, author: PeerId| {
            for (count, message) in (1..).zip(&messages) {
                send(hub, author, &Frame::Publish { count, message });
            }
        };
        refuse(&mut hub, author);
        // It dies before the author gets the answers.
        let position = hub.position();
        drop(hub);
        let start = Start::Recover { processes: [1].into(), handover: false };
        let mut hub = Hub::new(Settings::default(), numbers, start, Instant::now());
        let one = worker(&mut hub, 1, Some(position));
        send(&mut hub, one, &Frame::Report { position: Some(position), after: 0 });
        send(&mut hub, one, &Frame::End);
        let author = if kind == Role::Worker { one } else { outsider(&mut hub, 7) };
        refuse(&mut hub, author);
        let bytes = written(&mut hub, author);
        let answers = frames(&bytes);
        assert!(answers.iter().any(|frame| matches!(frame, Frame::Welcome(Welcome { count: 0, .. }))));
        for count in [1, 2] {
            assert!(answers.contains(&Frame::Refused { count, reason: Refusal::Broken }), "{count}: {answers:?}");
        }
    }
}

#[test]
fn the_log_ends_with_a_message_also_when_numbers_were_skipped() {
    let numbers = NumberStore::anonymous().unwrap();
    let mut hub = Hub::new(Settings::default(), numbers.clone(), Start::First, Instant::now());
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let author = outsider(&mut hub, 7);
    publish(&mut hub, author, 7, 1);
    hub.end_turn();
    // It dies before anybody gets the message, and so does the author.
    let position = Position { epoch: hub.position().epoch, last: 0 };
    drop(hub);
    assert_eq!(numbers.last(), 1);
    let start = Start::Recover { processes: [1].into(), handover: false };
    let mut hub = Hub::new(Settings::default(), numbers, start, Instant::now());
    let one = worker(&mut hub, 1, Some(position));
    send(&mut hub, one, &Frame::Report { position: Some(position), after: 0 });
    send(&mut hub, one, &Frame::End);
    assert!(hub.is_serving());
    assert_eq!(hub.position(), position);
    let author = outsider(&mut hub, 8);
    publish(&mut hub, author, 8, 1);
    assert_eq!(hub.position(), Position { last: 2, ..position });
}

#[test]
fn nothing_is_read_from_an_outsider_that_takes_no_answers() {
    let mut hub = first_hub();
    let id = outsider(&mut hub, 7);
    assert!(hub.reads(id));
    for token in 0..10_000 {
        send(&mut hub, id, &Frame::AskPosition { token });
    }
    assert!(!hub.reads(id));
    written(&mut hub, id);
    assert!(hub.reads(id));
}

#[test]
fn outsiders_are_bounded_before_they_are_welcome_and_after() {
    let mut hub = first_hub();
    // A long frame before the hello.
    let id = hub.connect_outsider();
    hub.receive(id, &(1_u32 << 20).to_be_bytes());
    assert_eq!(hub.next_closed(), Some(id));
    // The beginnings of many long frames.
    let long = hub.longest() / 2;
    let mut bytes = (long as u32).to_be_bytes().to_vec();
    bytes.resize(long, 1);
    let ids: Vec<_> = (0..100).map(|author| outsider(&mut hub, author)).collect();
    ids.iter().for_each(|id| hub.receive(*id, &bytes));
    assert!(hub.incomplete <= (16 << 20) + hub.longest() && hub.next_closed().is_some());
    hub.peers.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| hub.gone(id));
    assert_eq!(hub.incomplete, 0);
}

#[test]
fn outsiders_that_do_not_go_on_are_closed_and_quiet_ones_are_not() {
    let mut hub = first_hub();
    let now = Instant::now();
    hub.tick(now, SystemTime::now());
    let (silent, quiet, slow) = (hub.connect_outsider(), outsider(&mut hub, 7), outsider(&mut hub, 8));
    hub.receive(slow, &[0, 0]);
    hub.tick(now + Duration::from_secs(9), SystemTime::now());
    assert_eq!(hub.next_closed(), None);
    hub.tick(now + Duration::from_secs(11), SystemTime::now());
    let mut closed = [hub.next_closed(), hub.next_closed()];
    closed.sort();
    assert_eq!((closed, hub.next_closed()), ([Some(silent), Some(slow)], None));
    assert!(hub.peers.contains_key(&quiet));
}
