//! Polls that reach other processes, crossed with faults. The processes share a runtime, and a network of the test.

mod net;
mod world;

use crate::base::peers::Unreachable;
use net::Fault;
use world::{Refusal, World};

/// Where the poll at process 1 stands when something happens. The session is in process 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The question has not arrived.
    Asking,
    /// The session has accepted the poll, and has nothing to say.
    Accepted,
    /// The session has answered with more than fits into one piece, and the rest is held up.
    HalfAnswered,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    HubLost,
    /// The connection of process 2 with the hub is lost.
    Parted,
    /// Process 2 has ended.
    Ended(Unreachable),
    ClientGone,
    /// The app refuses another poll of the session.
    Refused(Refusal),
    /// Process 2 is stopped until the poll was answered.
    Stopped,
    /// The server of process 1 restarts.
    Leaving,
}

const STAGES: [Stage; 3] = [Stage::Asking, Stage::Accepted, Stage::HalfAnswered];

const EVENTS: [Event; 11] = [
    Event::Nothing,
    Event::HubLost,
    Event::Parted,
    Event::Ended(Unreachable::Ended),
    Event::Ended(Unreachable::Died),
    Event::ClientGone,
    Event::Refused(Refusal::Owner),
    Event::Refused(Refusal::Nobody),
    Event::Refused(Refusal::OtherOwner),
    Event::Stopped,
    Event::Leaving,
];

/// More than a piece, and than what may be underway.
const LONG: usize = 700_000;

#[test]
fn nothing_is_lost_or_comes_twice_whatever_happens_to_a_poll() {
    for (stage, event) in STAGES.into_iter().flat_map(|stage| EVENTS.map(|event| (stage, event))) {
        eprintln!("{stage:?}, {event:?}");
        check(stage, event);
    }
}

fn check(stage: Stage, event: Event) {
    let mut world = World::new();
    let mut page = world.page(2);
    assert_eq!(world.opened(), 1);
    let wait = if event == Event::Stopped { 0.02 } else { 30.0 };
    world.net.hold(2, stage == Stage::Asking);
    let mut expected = Vec::new();
    world.poll(&mut page, 1, wait);
    if stage != Stage::Asking {
        world.until("the newcomer is abandoned", |world| world.abandoned() == 1);
    }
    if stage == Stage::HalfAnswered {
        world.net.hold_pieces_after(1, 3);
        let long = "x".repeat(LONG);
        world.write(2, &long);
        expected.push(long);
        world.until("pieces are held up", |world| world.net.has_held_pieces());
    }
    let dies = matches!(event, Event::Ended(_));
    match event {
        Event::Nothing => {}
        Event::HubLost => world.net.happen(Fault::Lost),
        Event::Parted => world.net.happen(Fault::Parted(2)),
        Event::Ended(why) => {
            world.net.happen(Fault::Ended(2, why));
            world.stop(2);
        }
        Event::ClientGone => page.lose(),
        Event::Refused(refusal) => world.refuse(&page, 3, refusal),
        Event::Stopped => {
            world.net.hold(2, true);
            world.net.hold_pieces_after(1, 0);
            world.read(&mut page);
        }
        Event::Leaving => world.leave(1),
    }
    let ends = dies || matches!(event, Event::Refused(Refusal::Owner | Refusal::Nobody));
    // The hub lets the rest pass.
    world.net.release();
    let next = if event == Event::Leaving { 3 } else { 1 };
    if ends {
        // The next polls begin a session elsewhere, once.
        world.read_until(&mut page, next, |page| page.openings.len() == 2);
        world.until("on_close", |world| world.closed() == usize::from(!dies));
        assert_eq!(page.openings[1], event == Event::Ended(Unreachable::Died), "whether something may be lost");
        assert_eq!(world.opened(), 2);
    } else {
        world.write(2, "last");
        expected.push("last".to_owned());
        world.read_until(&mut page, next, |page| page.got.last().is_some_and(|text| text == "last"));
        assert!(page.got == expected, "{:?}", page.got.iter().map(String::len).collect::<Vec<_>>());
        assert_eq!((world.opened(), world.closed(), page.openings.len()), (1, 0, 1));
    }
    // No poll and no answer is remembered for ever, and no client that has not begun.
    page.lose();
    world.until("all is forgotten", |world| world.is_quiet());
}

#[test]
fn a_session_hops_between_processes() {
    let mut world = World::new();
    let mut page = world.page(2);
    for round in 0..60u32 {
        let at = 1 + round % 3;
        world.poll(&mut page, at, 30.0);
        world.write(2, &round.to_string());
        world.read(&mut page);
    }
    assert_eq!(page.got, (0..60).map(|round| round.to_string()).collect::<Vec<_>>());
    assert_eq!((world.opened(), world.closed(), page.openings.len()), (1, 0, 1));
}

#[test]
fn only_its_owner_goes_on_with_a_session() {
    let mut world = World::new();
    let mut page = world.owned_page(2, "u7");
    world.write(2, "for u7");
    for owner in [Some("u8"), Some(""), None] {
        let mut stranger = page.stolen(owner);
        world.read_until(&mut stranger, 1, |page| page.openings.len() == 1);
        assert_eq!((stranger.got.len(), stranger.openings[0]), (0, false), "{owner:?}");
    }
    let mut elsewhere = page.stolen(Some("u7"));
    elsewhere.place.push('x');
    world.read_until(&mut elsewhere, 1, |page| page.openings.len() == 1);
    assert!(elsewhere.got.is_empty(), "another place");
    world.read_until(&mut page, 1, |page| !page.got.is_empty());
    assert_eq!(page.got, ["for u7"]);
    assert_eq!(world.closed(), 0);
}

#[test]
fn many_long_answers_are_underway_in_small_pieces() {
    let mut world = World::new();
    let mut pages: Vec<_> = (0..20).map(|_| world.page(2)).collect();
    let long = "y".repeat(LONG);
    pages.iter_mut().for_each(|page| world.poll(page, 1, 30.0));
    world.until("all are accepted", |world| world.abandoned() == 20);
    world.write(2, &long);
    for page in &mut pages {
        world.read(page);
        assert!(page.got == [long.as_str()]);
    }
    assert!(world.net.most_underway() < 2 * (256 << 10), "{} bytes", world.net.most_underway());
}

#[test]
fn while_there_is_no_hub_a_poll_waits_for_the_next_one() {
    let mut world = World::new();
    let mut page = world.page(2);
    world.net.hold_all(true);
    world.poll(&mut page, 1, 30.0);
    world.write(2, "a");
    world.net.release();
    world.read(&mut page);
    assert_eq!(page.got, ["a"]);
}
