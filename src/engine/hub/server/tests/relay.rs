use super::directed::{first_hub, frames, outsider, send, worker, written};
use crate::base::peers::Unreachable;
use crate::engine::hub::protocol::Frame;
use crate::engine::hub::server::{Flushed, Hub, PeerId};

/// A worker that has read what it gets at the beginning.
fn welcome(hub: &mut Hub, process: u32) -> PeerId {
    let id = worker(hub, process, None);
    written(hub, id);
    id
}

fn parcel(hub: &mut Hub, from: PeerId, process: u32, id: u64, payload: &[u8]) {
    send(hub, from, &Frame::Relay { process, id, payload });
}

/// What is told of the others: parcels and what has become of parcels.
fn told(hub: &mut Hub, id: PeerId) -> Vec<String> {
    let bytes = written(hub, id);
    let texts = frames(&bytes).into_iter().filter_map(|frame| match frame {
        Frame::Relay { process, id, payload } => Some(format!("{process} {id} {}", String::from_utf8_lossy(payload))),
        Frame::Unreachable { process, id, length, why } => Some(format!("{process} {id} {length} {why:?}")),
        Frame::Parted { process } => Some(format!("parted {process}")),
        _ => None,
    });
    texts.collect()
}

#[test]
fn parcels_go_to_the_worker_that_they_name_in_their_order() {
    let mut hub = first_hub();
    let [one, two, three] = [1, 2, 3].map(|process| welcome(&mut hub, process));
    parcel(&mut hub, one, 2, 7, b"a");
    parcel(&mut hub, three, 2, 7, b"b");
    parcel(&mut hub, one, 2, 8, b"");
    parcel(&mut hub, one, 1, 9, b"self");
    assert_eq!(told(&mut hub, two), ["1 7 a", "3 7 b", "1 8 "]);
    assert_eq!(told(&mut hub, one), ["1 9 self"]);
    assert!(told(&mut hub, three).is_empty());
}

#[test]
fn the_sender_is_told_why_a_parcel_has_not_arrived() {
    let mut hub = first_hub();
    let one = welcome(&mut hub, 1);
    // It is connected, and has not said hello.
    hub.connect_worker(2);
    let gone = welcome(&mut hub, 3);
    hub.gone(gone);
    for (process, killed) in [(4, false), (5, true)] {
        let id = welcome(&mut hub, process);
        hub.gone(id);
        if killed {
            hub.note_death(process);
        }
        hub.lose(process);
    }
    told(&mut hub, one);
    for (process, why) in [
        (2, Unreachable::Away),
        (3, Unreachable::Away),
        (4, Unreachable::Ended),
        (5, Unreachable::Died),
        (6, Unreachable::Ended),
    ] {
        parcel(&mut hub, one, process, 1 << 63, b"abc");
        assert_eq!(told(&mut hub, one), [format!("{process} {} 3 {why:?}", 1u64 << 63)]);
    }
    // It has come back.
    let three = welcome(&mut hub, 3);
    parcel(&mut hub, one, 3, 2, b"again");
    assert_eq!(told(&mut hub, three), ["1 2 again"]);
}

#[test]
fn a_worker_that_does_not_read_has_a_bound_for_its_parcels() {
    const LONG: usize = 64 << 10;
    let mut hub = first_hub();
    let [one, two] = [1, 2].map(|process| welcome(&mut hub, process));
    let long = vec![b'x'; LONG];
    let mut taken = 0;
    while told(&mut hub, one).is_empty() {
        parcel(&mut hub, one, 2, taken, &long);
        hub.flush(two, |_| Ok(0));
        taken += 1;
        assert!(taken < 1000, "without a bound");
    }
    assert!((100..=140).contains(&taken), "8 MiB, and what is staged: {taken}");
    // Others are not held up, and after it has read, neither is this one.
    parcel(&mut hub, two, 1, 1, b"to one");
    assert_eq!(told(&mut hub, one), ["2 1 to one"]);
    hub.unblock(two);
    let mut got = 0;
    while hub.next_writer().is_some() || got == 0 {
        got += told(&mut hub, two).len() as u64;
    }
    assert_eq!(got, taken - 1);
    parcel(&mut hub, one, 2, 1, b"next");
    assert_eq!(told(&mut hub, two), ["1 1 next"]);
}

#[test]
fn the_others_are_told_when_a_connection_has_ended_behind_its_last_parcels() {
    let mut hub = first_hub();
    let [one, two, three] = [1, 2, 3].map(|process| welcome(&mut hub, process));
    parcel(&mut hub, one, 2, 1, b"last");
    // A new connection while the end of the old one has not come.
    let again = welcome(&mut hub, 1);
    assert_eq!(told(&mut hub, two), ["1 1 last", "parted 1"]);
    hub.gone(one);
    assert!(told(&mut hub, two).is_empty(), "it is told once");
    parcel(&mut hub, again, 2, 2, b"goes on");
    hub.gone(again);
    hub.lose(1);
    assert_eq!(told(&mut hub, two), ["1 2 goes on", "parted 1"]);
    assert_eq!(told(&mut hub, three), ["parted 1", "parted 1"]);
}

#[test]
fn only_a_worker_that_is_welcome_sends_parcels() {
    let mut hub = first_hub();
    let two = welcome(&mut hub, 2);
    let (unknown, outsider) = (hub.connect_worker(1), outsider(&mut hub, 9));
    for id in [unknown, outsider] {
        parcel(&mut hub, id, 2, 1, b"x");
        assert_eq!(hub.next_closed(), Some(id));
    }
    assert!(told(&mut hub, two).is_empty());
}

#[test]
fn what_is_flushed_to_a_worker_that_is_gone_harms_nobody() {
    let mut hub = first_hub();
    let [one, two] = [1, 2].map(|process| welcome(&mut hub, process));
    parcel(&mut hub, one, 2, 1, b"x");
    let broken = hub.flush(two, |_| Err(std::io::ErrorKind::BrokenPipe.into()));
    assert_eq!(broken, Flushed::Broken);
    assert_eq!(told(&mut hub, one), ["parted 2"]);
}
