//! Members at the hub, in schedules that are not random.

use std::time::{Duration, Instant, SystemTime};

use super::author::bytes_of;
use super::directed::{first_hub, frames, outsider, publish, send, worker, written};
use super::roll::table;
use crate::channel::{Change, ChangeKind, Command, PresentMember, client_id, codec};
use crate::engine::hub::author::{HUB, commands_of};
use crate::engine::hub::protocol::{Frame, Position, Refusal, Role, VERSION};
use crate::engine::hub::server::{Hub, NumberStore, PeerId, Settings, Start};

const LINGER: Duration = Duration::from_secs(15);

fn change(member: &str, kind: ChangeKind) -> Command {
    Command::Member(Change { channel: "c".into(), member: member.into(), kind })
}

fn join(member: &str, client: u64) -> Command {
    change(member, ChangeKind::Join { client, info: "1".into() })
}

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_command(command, &mut bytes).unwrap();
    bytes
}

fn command(hub: &mut Hub, id: PeerId, count: u64, command: &Command) {
    send(hub, id, &Frame::Command { count, command: &encoded(command) });
    hub.end_turn();
}

/// The members, each with its number of clients.
fn members(hub: &Hub) -> Vec<(String, usize)> {
    table(&hub.members).into_iter().map(|((_, name), (_, clients))| (name.to_string(), clients.len())).collect()
}

fn member(name: &str, clients: usize) -> (String, usize) {
    (name.to_owned(), clients)
}

/// Time passes until the hub looks.
fn pass(hub: &mut Hub, time: Duration) {
    let now = hub.now.0 + time;
    hub.tick(now, SystemTime::now());
    hub.end_turn();
}

/// The commands in these bytes, with their authors and counts.
fn commands(bytes: &[u8]) -> Vec<(u128, u64, Command)> {
    let command = |frame: Frame<'_>| {
        let Frame::Message { author, count, message, .. } = frame else { return None };
        match codec::decode_entry(message, usize::MAX) {
            Ok(Some((codec::Entry::Command(command), _))) => Some((author, count, command)),
            _ => None,
        }
    };
    frames(bytes).into_iter().filter_map(command).collect()
}

/// A hub that takes the place of another one, with these workers. One of them reports members.
fn next_hub(numbers: NumberStore, processes: &[u32], position: Position, present: Vec<PresentMember>) -> Hub {
    let start = Start::Recover { processes: processes.iter().copied().collect(), handover: false };
    let mut hub = Hub::new(Settings::default(), numbers, start, Instant::now());
    for process in processes {
        let id = worker(&mut hub, *process, Some(position));
        send(&mut hub, id, &Frame::Report { position: Some(position), after: position.last });
        send(&mut hub, id, &Frame::Members(present.clone()));
        send(&mut hub, id, &Frame::End);
    }
    assert!(hub.is_serving() && hub.position().epoch == position.epoch);
    hub
}

#[test]
fn commands_come_back_to_all_workers_and_need_no_credit() {
    let mut hub = first_hub();
    let (one, other) = (worker(&mut hub, 1, None), worker(&mut hub, 2, None));
    for id in [one, other] {
        written(&mut hub, id);
    }
    hub.peers.get_mut(&one).unwrap().credit = 0;
    let own = join("ana", client_id(1, 1));
    command(&mut hub, one, 1, &own);
    // It is sent again, after a connection was lost.
    command(&mut hub, one, 1, &own);
    for id in [one, other] {
        assert_eq!(commands(&written(&mut hub, id)), [(commands_of(1), 1, own.clone())]);
    }
    assert_eq!((members(&hub), hub.position().last), (vec![member("ana", 1)], 1));
    assert!(hub.next_closed().is_none());
}

#[test]
fn a_member_leaves_when_it_has_lingered_and_not_before() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let client = client_id(1, 1);
    command(&mut hub, one, 1, &join("ana", client));
    pass(&mut hub, 2 * LINGER);
    command(&mut hub, one, 2, &change("ana", ChangeKind::Leave { client }));
    pass(&mut hub, LINGER - Duration::from_nanos(1));
    assert_eq!(members(&hub), [member("ana", 0)]);
    written(&mut hub, one);
    pass(&mut hub, Duration::from_nanos(1));
    assert_eq!(members(&hub), []);
    assert_eq!(commands(&written(&mut hub, one)), [(HUB, 3, change("ana", ChangeKind::Expire))]);
}

#[test]
fn the_clients_of_a_worker_that_has_ended_leave_and_their_members_linger() {
    let mut hub = first_hub();
    let (one, other) = (worker(&mut hub, 1, None), worker(&mut hub, 2, None));
    written(&mut hub, one);
    for (count, name) in [(1, "ana"), (2, "bob")] {
        command(&mut hub, other, count, &join(name, client_id(2, count)));
    }
    command(&mut hub, one, 1, &join("ana", client_id(1, 1)));
    // The end of the connection alone means nothing: the worker gets another one.
    hub.gone(other);
    assert_eq!(members(&hub), [member("ana", 2), member("bob", 1)]);
    hub.lose(2);
    hub.end_turn();
    assert_eq!(members(&hub), [member("ana", 1), member("bob", 0)]);
    pass(&mut hub, LINGER);
    assert_eq!(members(&hub), [member("ana", 1)]);
}

#[test]
fn a_hub_that_recovers_has_the_members_and_those_without_clients_linger_anew() {
    let numbers = NumberStore::anonymous().unwrap();
    let mut hub = Hub::new(Settings::default(), numbers.clone(), Start::First, Instant::now());
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    for count in 1..=4 {
        publish(&mut hub, one, 1, count);
    }
    hub.end_turn();
    let position = hub.position();
    drop(hub);
    let present = |name: &str, clients: &[u64]| PresentMember {
        channel: "c".into(),
        member: name.into(),
        info: "1".into(),
        clients: clients.into(),
    };
    // The worker 3 has ended while there was no hub.
    let ids = [client_id(1, 1), client_id(2, 1), client_id(3, 1)];
    let all = vec![present("ana", &ids[..2]), present("bob", &[]), present("cleo", &ids[2..])];
    let mut hub = next_hub(numbers, &[1, 2], position, all);
    let expected = [member("ana", 2), member("bob", 0), member("cleo", 0)];
    assert_eq!(members(&hub), expected);
    pass(&mut hub, LINGER - Duration::from_nanos(1));
    assert_eq!(members(&hub), expected);
    pass(&mut hub, Duration::from_nanos(1));
    assert_eq!(members(&hub), [member("ana", 2)]);
    // A worker of which the supervisor says later that it has ended.
    hub.lose(2);
    assert_eq!(members(&hub), [member("ana", 1)]);
}

#[test]
fn a_worker_that_ends_while_the_hub_recovers_has_no_members() {
    let numbers = NumberStore::anonymous().unwrap();
    let position = Hub::new(Settings::default(), numbers.clone(), Start::First, Instant::now()).position();
    let start = Start::Recover { processes: [1, 2].into(), handover: false };
    let mut hub = Hub::new(Settings::default(), numbers, start, Instant::now());
    let one = worker(&mut hub, 1, Some(position));
    hub.lose(2);
    let clients = vec![client_id(1, 1), client_id(2, 1)];
    let ana = PresentMember { channel: "c".into(), member: "ana".into(), info: "1".into(), clients };
    send(&mut hub, one, &Frame::Report { position: Some(position), after: position.last });
    send(&mut hub, one, &Frame::Members(vec![ana]));
    send(&mut hub, one, &Frame::End);
    assert!(hub.is_serving());
    assert_eq!(members(&hub), [member("ana", 1)]);
}

#[test]
fn a_worker_that_starts_gets_the_members_with_the_log() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    command(&mut hub, one, 1, &join("ana", client_id(1, 1)));
    let other = worker(&mut hub, 2, None);
    let bytes = written(&mut hub, other);
    let pieces = frames(&bytes).into_iter().filter_map(|frame| match frame {
        Frame::Members(members) => Some(members),
        _ => None,
    });
    let all: Vec<_> = pieces.flatten().collect();
    assert_eq!(all, hub.members.all().collect::<Vec<_>>());
    assert_eq!((all.len(), &all[0].clients[..]), (1, &[client_id(1, 1)][..]));
}

#[test]
fn a_worker_changes_only_members_of_its_own_and_an_outsider_changes_none() {
    for wrong in [join("ana", client_id(2, 1)), change("ana", ChangeKind::Expire)] {
        let mut hub = first_hub();
        let one = worker(&mut hub, 1, None);
        written(&mut hub, one);
        command(&mut hub, one, 1, &wrong);
        assert_eq!((hub.next_closed(), members(&hub)), (Some(one), vec![]));
    }
    let mut hub = first_hub();
    let own = outsider(&mut hub, 7);
    let disconnect = |done| Command::Disconnect { member: "ana".into(), done };
    let all = [join("ana", client_id(1, 1)), change("ana", ChangeKind::Expire), disconnect(Some(1)), disconnect(None)];
    for (count, command) in (1..).zip(&all) {
        send(&mut hub, own, &Frame::Publish { count, message: &encoded(command) });
    }
    hub.end_turn();
    let bytes = written(&mut hub, own);
    for count in 1..=3 {
        assert!(frames(&bytes).contains(&Frame::Refused { count, reason: Refusal::Broken }), "{count}");
    }
    assert!(frames(&bytes).contains(&Frame::Numbered { count: 4, seq: 1, run: 1 }));
    send(&mut hub, own, &Frame::Command { count: 1, command: &encoded(&disconnect(None)) });
    assert_eq!(hub.next_closed(), Some(own));
}

#[test]
fn commands_that_cannot_be_read_close_the_connection_and_long_ones_do_not() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    let info = "x".repeat(hub.longest()).into();
    command(&mut hub, one, 1, &change("ana", ChangeKind::Join { client: client_id(1, 1), info }));
    assert_eq!((hub.next_closed(), hub.position().last), (None, 0));
    command(&mut hub, one, 2, &join("bob", client_id(1, 2)));
    assert_eq!((members(&hub), hub.position().last), (vec![member("bob", 1)], 1));
    send(&mut hub, one, &Frame::Command { count: 3, command: &bytes_of((1, 1)) });
    assert_eq!(hub.next_closed(), Some(one));
}

#[test]
fn a_worker_that_comes_back_learns_which_of_its_commands_are_known() {
    let mut hub = first_hub();
    let one = worker(&mut hub, 1, None);
    written(&mut hub, one);
    command(&mut hub, one, 1, &join("ana", client_id(1, 1)));
    hub.gone(one);
    let again = hub.connect_worker(1);
    let position = Some(Position { last: 0, ..hub.position() });
    let hello =
        |commands| Frame::Hello { version: VERSION, role: Role::Worker, author: 1, settled: 0, commands, position };
    send(&mut hub, again, &hello(0));
    let bytes = written(&mut hub, again);
    let known = frames(&bytes).into_iter().find_map(|frame| match frame {
        Frame::Welcome(welcome) => Some(welcome.commands),
        _ => None,
    });
    assert_eq!((known, commands(&bytes).len()), (Some(1), 1));
}

#[test]
fn workers_get_what_was_published_in_the_turn_in_which_another_one_has_come() {
    let mut hub = first_hub();
    let (one, other) = (worker(&mut hub, 1, None), worker(&mut hub, 2, None));
    for id in [one, other] {
        written(&mut hub, id);
    }
    while hub.next_writer().is_some() {}
    publish(&mut hub, one, 1, 1);
    worker(&mut hub, 3, None);
    hub.end_turn();
    let listed: Vec<_> = std::iter::from_fn(|| hub.next_writer()).collect();
    assert!(listed.contains(&other), "{listed:?}");
}

#[test]
fn a_command_is_kept_for_a_new_hub_until_its_worker_knows_its_number() {
    let numbers = NumberStore::anonymous().unwrap();
    let mut hub = Hub::new(Settings::default(), numbers.clone(), Start::First, Instant::now());
    let (one, other) = (worker(&mut hub, 1, None), worker(&mut hub, 2, None));
    for id in [one, other] {
        written(&mut hub, id);
    }
    let position = hub.position();
    let own = join("ana", client_id(1, 1));
    command(&mut hub, one, 1, &own);
    hub.gone(one);
    written(&mut hub, other);
    assert_eq!(hub.stable, 0);
    let one = worker(&mut hub, 1, Some(position));
    written(&mut hub, one);
    assert_eq!(hub.stable, 1);
    // The next hub waits for nobody who is there.
    let start = Start::Recover { processes: [1].into(), handover: false };
    let mut hub = Hub::new(Settings::default(), numbers, start, Instant::now());
    let (one, position) = (worker(&mut hub, 1, Some(position)), Position { last: 1, ..position });
    send(&mut hub, one, &Frame::Report { position: Some(position), after: 0 });
    let message = encoded(&own);
    send(&mut hub, one, &Frame::Message { seq: 1, author: commands_of(1), count: 1, message: &message });
    send(&mut hub, one, &Frame::End);
    assert!(hub.is_serving() && hub.absent.is_empty());
}
