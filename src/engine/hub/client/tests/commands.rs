//! Commands and members of the machine.

use std::sync::Arc;

use super::*;
use crate::channel::{Channels, Command, Epoch, PresentMember, Reset, codec};
use crate::engine::Local;
use crate::engine::hub::author::commands_of;
use crate::engine::hub::protocol::Known;

fn disconnect(member: &str) -> Command {
    Command::Disconnect { member: member.into(), done: None }
}

/// The commands in these bytes, with their counts; the counts of messages.
fn sent_by(worker: &mut Worker) -> (Vec<(u64, Command)>, Vec<u64>) {
    let bytes = worker.sent();
    let (mut rest, mut commands, mut messages) = (&bytes[..], Vec::new(), Vec::new());
    while let Some((frame, length)) = decode(rest, usize::MAX).unwrap() {
        match frame {
            Frame::Command { count, command } => match codec::decode_entry(command, usize::MAX) {
                Ok(Some((codec::Entry::Command(command), _))) => commands.push((count, command)),
                other => panic!("{other:?}"),
            },
            Frame::Publish { count, .. } => {
                messages.push(count);
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    (commands, messages)
}

/// A command with its number, as the hub sends it.
fn numbered(seq: u64, count: u64, command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_command(command, &mut bytes).unwrap();
    encoded(&[Frame::Message { seq, author: commands_of(AUTHOR), count, message: &bytes }])
}

#[test]
fn commands_overtake_messages_that_wait_for_credit() {
    let (mut worker, _hub) = started(0);
    worker.publish("1");
    worker.machine.command(disconnect("a"));
    worker.machine.command(disconnect("b"));
    assert_eq!(sent_by(&mut worker), (vec![(1, disconnect("a")), (2, disconnect("b"))], vec![]));
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Credit { bytes: 1 }]));
    assert_eq!(sent_by(&mut worker), (vec![], vec![1]));
    let bytes = [numbered(1, 1, &disconnect("a")), encoded(&[Frame::Own { count: 1, seq: 2, run: 1 }])].concat();
    worker.receive(&mut Vec::new(), &bytes);
    let first = &worker.results.events[0];
    assert!(matches!(first, Event::Command { seq: 1, command } if *command == disconnect("a")), "{first:?}");
    assert_eq!((outcomes(&worker), worker.results.commands), (vec![Some(2)], 1));
}

#[test]
fn commands_are_sent_again_unless_the_hub_knows_them() {
    for known in 0..=3 {
        let (mut worker, _hub) = started(0);
        let all = ["a", "b", "c"].map(disconnect);
        all.iter().for_each(|command| worker.machine.command(command.clone()));
        worker.sent();
        worker.machine.disconnected();
        worker.machine.connected();
        worker.sent();
        let position = Position { epoch: EPOCH, last: 0 };
        let welcome = Welcome { version: VERSION, position, count: 0, seq: 0, commands: known, credit: 0, longest: 9 };
        worker.receive(&mut Vec::new(), &encoded(&[Frame::Welcome(welcome), Frame::Continue { after: 0 }]));
        let again: Vec<_> = (known + 1..=3).map(|count| (count, all[count as usize - 1].clone())).collect();
        assert_eq!(sent_by(&mut worker).0, again);
        // The hub has refused the first one, or has told nobody of it.
        let bytes = [numbered(1, 2, &all[1]), numbered(2, 3, &all[2])].concat();
        worker.receive(&mut Vec::new(), &bytes);
        assert_eq!((worker.results.commands, sent_by(&mut worker).0), (3, vec![]));
    }
}

#[test]
fn a_log_as_a_whole_has_the_members_and_the_commands_that_are_known() {
    let (mut worker, _hub) = started(0);
    ["a", "b", "c"].into_iter().for_each(|member| worker.machine.command(disconnect(member)));
    worker.sent();
    let position = Position { epoch: EPOCH, last: 9 };
    let (channel, member, info) = ("c".into(), "ana".into(), "1".into());
    let ana = PresentMember { channel, member, info, clients: vec![7, 8] };
    let frames = [
        Frame::Reset { position, since: 0 },
        Frame::Members(vec![ana.clone()]),
        Frame::Authors(vec![Known { author: commands_of(AUTHOR), count: 2, seq: 8 }]),
        Frame::End,
    ];
    worker.receive(&mut Vec::new(), &encoded(&frames));
    let Event::Reset(reset) = &worker.results.events[0] else { panic!() };
    assert_eq!((&reset.members[..], worker.results.commands), (&[ana][..], 2));
    worker.receive(&mut Vec::new(), &numbered(10, 3, &disconnect("c")));
    assert_eq!(worker.results.commands, 3);
    worker.machine.disconnected();
    worker.machine.connected();
    let hello = worker.sent();
    assert!(matches!(decode(&hello, usize::MAX), Ok(Some((Frame::Hello { commands: 3, .. }, _)))));
}

#[test]
fn a_report_has_commands_and_members() {
    let (mut worker, _hub) = started(0);
    let own = disconnect("a");
    worker.receive(&mut Vec::new(), &numbered(1, 1, &own));
    worker.machine.disconnected();
    worker.machine.connected();
    worker.sent();
    worker.receive(&mut Vec::new(), &encoded(&[Frame::AskReport]));
    let (channel, member, info) = ("c".into(), "ana".into(), "1".into());
    let ana = PresentMember { channel, member, info, clients: vec![7] };
    let image = Channels::new(Limits::default(), Local::shared(Arc::new(Quiet)), None).image(0);
    worker.machine.report(Some(Reset { epoch: Epoch::from(EPOCH), members: vec![ana.clone()], ..image }));
    let bytes = worker.sent();
    let (mut rest, mut all) = (&bytes[..], Vec::new());
    while let Some((frame, length)) = decode(rest, usize::MAX).unwrap() {
        all.push(frame);
        rest = &rest[length..];
    }
    let entry = numbered(1, 1, &own);
    assert!(all.contains(&decode(&entry, usize::MAX).unwrap().unwrap().0), "{all:?}");
    assert!(all.contains(&Frame::Members(vec![ana])) && all.last() == Some(&Frame::End), "{all:?}");
}
