//! The machine alone.

use std::sync::Arc;

use super::*;
use crate::channel::engine::LogEnd;
use crate::channel::{Channels, Cursor, Epoch, Policy, Unpublished};
use crate::engine::Local;
use crate::engine::hub::protocol::{Known, Refusal};

#[test]
fn own_messages_come_back_as_the_same_arc() {
    let (mut worker, mut hub) = started(1 << 20);
    hub.other("a");
    worker.publish("1");
    let sent = worker.sent();
    let answer = hub.receive(&sent);
    worker.receive(&mut Vec::new(), &answer);
    assert_eq!(worker.log(), [(1, Some("a".to_owned())), (2, Some("1".to_owned()))]);
    let Event::Message(back) = &worker.results.events[1] else { panic!() };
    assert!(Arc::ptr_eq(back, &worker.own[0]));
    assert_eq!(outcomes(&worker), [Some(2)]);
    assert_eq!(worker.machine.position(), Some(Cursor { epoch: Epoch::from(EPOCH), seq: 2 }));
}

/// All that a hub sends, for a worker that has three messages on their way.
fn stream() -> (Worker, Vec<u8>) {
    let (mut worker, mut hub) = started(1 << 20);
    ["1", "2", "3"].into_iter().for_each(|text| worker.publish(text));
    hub.other("a");
    let mut bytes = hub.receive(&worker.sent());
    hub.other("b");
    bytes.extend(hub.receive(&[]));
    bytes.extend(encoded(&[Frame::Stable { seq: 3 }, Frame::Credit { bytes: 9 }]));
    (worker, bytes)
}

#[test]
fn a_delivery_may_be_split_at_every_byte() {
    let length = stream().1.len();
    for at in 0..=length {
        let (mut worker, bytes) = stream();
        let mut buffer = Vec::new();
        worker.receive(&mut buffer, &bytes[..at]);
        worker.receive(&mut buffer, &bytes[at..]);
        assert!(buffer.is_empty());
        let texts: Vec<_> = worker.log().into_iter().map(|(_, text)| text.unwrap()).collect();
        assert_eq!(texts, ["a", "1", "2", "3", "b"], "split at {at}");
        assert_eq!(outcomes(&worker), [Some(2), Some(3), Some(4)]);
    }
}

#[test]
fn a_hub_may_die_at_every_byte_of_a_delivery() {
    let length = stream().1.len();
    // What the next hub knows: all, only what this worker got, or something between.
    for (at, kept) in (0..=length).flat_map(|at| (0..=5).map(move |kept| (at, kept))) {
        let (mut worker, bytes) = stream();
        worker.receive(&mut Vec::new(), &bytes[..at]);
        worker.machine.disconnected();
        let got = worker.log().len();
        if got > kept {
            continue;
        }
        let mut log = vec![(OTHER, 1, plain("a"))];
        log.extend((1..=3).map(|count| (AUTHOR, count, plain(&count.to_string()))));
        log.push((OTHER, 2, plain("b")));
        log.truncate(kept);
        let mut hub = Hub { log, credit: 1 << 20, ..Hub::default() };
        worker.publish("4");
        worker.machine.connected();
        let mut buffer = Vec::new();
        for _ in 0..3 {
            let answer = hub.receive(&worker.sent());
            worker.receive(&mut buffer, &answer);
        }
        let log = worker.log();
        assert!(log.iter().map(|(seq, _)| *seq).eq(1..=log.len() as u64), "died at {at}, {kept} kept: {log:?}");
        assert_eq!(twice(&log), [""; 0]);
        assert!(outcomes(&worker).iter().all(Option::is_some), "died at {at}, {kept} kept");
        let own: Vec<_> = log.iter().filter(|(_, text)| "1234".contains(text.as_deref().unwrap())).collect();
        assert_eq!(own.len(), 4, "died at {at}, {kept} kept: {log:?}");
        assert!(own.iter().map(|(seq, _)| Some(*seq)).eq(outcomes(&worker)), "in order");
    }
}

#[test]
fn nothing_is_published_without_credit_or_before_the_welcome() {
    let (mut worker, mut hub) = started(1);
    worker.publish("1");
    worker.publish("2");
    // One frame may overdraw.
    hub.receive(&worker.sent());
    assert_eq!(hub.log.len(), 1);
    assert!(worker.sent().is_empty());
    let debt = 5 + 8 + plain("1").len() as u32;
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Credit { bytes: debt - 1 }]));
    assert!(worker.sent().is_empty(), "no more than it had");
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Credit { bytes: 1 }]));
    hub.receive(&worker.sent());
    assert_eq!(hub.log.len(), 2);
    worker.machine.disconnected();
    worker.publish("3");
    assert!(worker.sent().is_empty());
    worker.machine.connected();
    let hello = worker.sent();
    let (frame, length) = decode(&hello, usize::MAX).unwrap().unwrap();
    assert!(matches!(frame, Frame::Hello { settled: 0, position: Some(_), .. }) && length == hello.len());
    assert!(worker.sent().is_empty() && !worker.machine.is_ready());
}

#[test]
fn a_refused_message_is_lost_and_the_others_keep_their_order() {
    let (mut worker, _hub) = started(1 << 20);
    ["1", "2", "3"].into_iter().for_each(|text| worker.publish(text));
    worker.sent();
    let frames = [Frame::Refused { count: 2, reason: Refusal::TooManyChannels }];
    worker.receive(&mut Vec::new(), &encoded(&frames));
    assert!(worker.results.settled.is_empty(), "the first one is not settled");
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Own { count: 1, seq: 1, run: 1 }]));
    assert_eq!(worker.results.settled.len(), 2);
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Own { count: 3, seq: 2, run: 1 }]));
    assert_eq!(outcomes(&worker), [Some(1), None, Some(2)]);
    assert_eq!(worker.tickets[1].outcome(), Some(Err(Unpublished::Refused(Some(Refusal::TooManyChannels)))));
    assert_eq!(worker.log().len(), 2);
}

#[test]
fn a_reset_settles_what_the_hub_has_numbered_meanwhile() {
    for since in [0, 1] {
        let (mut worker, _hub) = started(1 << 20);
        ["1", "2", "3", "4"].into_iter().for_each(|text| worker.publish(text));
        worker.sent();
        let message = plain("kept");
        worker.receive(&mut Vec::new(), &encoded(&[Frame::Own { count: 1, seq: 1, run: 1 }]));
        let epoch = if since == 0 { EPOCH + 1 } else { EPOCH };
        let position = Position { epoch, last: 9 };
        let frames = [
            Frame::Reset { position, since },
            Frame::Floors(vec![(4, "a"), (9, "b")]),
            Frame::Forgotten { key: 3, floors: vec![5, 6] },
            Frame::Kept { seq: 7, message: &message },
            Frame::Authors(vec![Known { author: AUTHOR, count: 3, seq: 8 }, Known { author: OTHER, count: 1, seq: 9 }]),
            Frame::End,
            Frame::Own { count: 4, seq: 10, run: 1 },
        ];
        worker.receive(&mut Vec::new(), &encoded(&frames));
        let cursors: Vec<_> = worker.tickets.iter().map(|ticket| ticket.outcome().unwrap().unwrap()).collect();
        let at = |seq| Cursor { epoch: Epoch::from(epoch), seq };
        // The number of the second is not known: nothing behind this cursor is missed.
        assert_eq!(cursors[1..], [at(since), at(8), at(10)]);
        let Event::Reset(reset) = &worker.results.events[1] else { panic!() };
        assert_eq!((reset.epoch, reset.last, reset.forgotten.highest()), (Epoch::from(epoch), 9, 6));
        assert_eq!(reset.floors, [("a".into(), 4), ("b".into(), 9)]);
        assert_eq!(reset.history.iter().map(|message| message.seq()).collect::<Vec<_>>(), [7]);
        assert_eq!(worker.machine.position(), Some(at(10)));
    }
}

#[test]
fn a_report_has_all_that_is_not_stable_and_what_channels_keep() {
    let (mut worker, mut hub) = started(1 << 20);
    worker.publish("1");
    (1..=3).for_each(|_| hub.other("x"));
    let answer = hub.receive(&worker.sent());
    worker.receive(&mut Vec::new(), &answer);
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Stable { seq: 2 }]));
    worker.machine.disconnected();
    worker.machine.connected();
    worker.sent();
    worker.receive(&mut Vec::new(), &encoded(&[Frame::AskReport]));
    assert!(worker.machine.wants_report());
    // The channels of a worker that keep two messages.
    let channels = Channels::new(Limits::default(), Arc::new(Local::new(Arc::new(Quiet))), None);
    channels.define("c", Policy { history: 9, ..Policy::default() }, Instant::now());
    (0..4).for_each(|_| _ = channels.publish(&Draft::text("c", b"kept"), Instant::now()).unwrap());
    let image = crate::channel::Reset { epoch: Epoch::from(EPOCH), ..channels.image(0) };
    worker.machine.report(Some(image));
    let bytes = worker.sent();
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while let Some((frame, length)) = decode(rest, usize::MAX).unwrap() {
        frames.push(frame);
        rest = &rest[length..];
    }
    let position = Some(Position { epoch: EPOCH, last: 4 });
    assert_eq!(frames[0], Frame::Report { position, after: 2 });
    let tail: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Message { seq, author, count, .. } => Some((*seq, *author, *count)),
            _ => None,
        })
        .collect();
    assert_eq!(tail, [(3, OTHER, 3), (4, AUTHOR, 1)]);
    let kept = frames.iter().filter_map(|frame| if let Frame::Kept { seq, .. } = frame { Some(*seq) } else { None });
    assert_eq!(kept.collect::<Vec<_>>(), [1, 2]);
    assert!(frames.iter().any(|frame| matches!(frame, Frame::Forgotten { .. })));
    assert_eq!(frames.last(), Some(&Frame::End));
    // A worker that has no log says so.
    let mut fresh = Worker::new();
    fresh.machine.connected();
    fresh.sent();
    fresh.receive(&mut Vec::new(), &encoded(&[Frame::AskReport]));
    assert_eq!(fresh.sent(), encoded(&[Frame::Report { position: None, after: 0 }, Frame::End]));
}

#[test]
fn rules_are_sent_when_the_app_is_loaded_and_when_they_change() {
    let (mut worker, _hub) = started(0);
    worker.machine.define("a:*".to_owned(), Policy { history: 3, ..Policy::default() });
    worker.machine.define("b:*".to_owned(), Policy::default());
    assert!(worker.sent().is_empty());
    worker.machine.loaded();
    let globs = |bytes: &[u8]| match decode(bytes, usize::MAX).unwrap().unwrap().0 {
        Frame::Rules { generation: 1, rules } => {
            rules.iter().map(|rule| (rule.glob.to_owned(), rule.history)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(globs(&worker.sent()), [("a:*".to_owned(), 3), ("b:*".to_owned(), 0)]);
    assert!(worker.sent().is_empty());
    worker.machine.define("a:*".to_owned(), Policy { history: 4, ..Policy::default() });
    assert_eq!(globs(&worker.sent()), [("a:*".to_owned(), 4)]);
    // The next hub is told all of them, in the order in which they hold.
    worker.machine.disconnected();
    worker.machine.connected();
    let bytes = worker.sent();
    let (_, hello) = decode(&bytes, usize::MAX).unwrap().unwrap();
    assert_eq!(globs(&bytes[hello..]), [("b:*".to_owned(), 0), ("a:*".to_owned(), 4)]);
    // An app without rules says that, too.
    let mut none = Worker::new();
    none.machine.loaded();
    none.machine.connected();
    let bytes = none.sent();
    let (_, hello) = decode(&bytes, usize::MAX).unwrap().unwrap();
    assert_eq!(globs(&bytes[hello..]), []);
}

#[test]
fn a_question_is_asked_again_after_a_hub_has_died() {
    let (mut worker, _hub) = started(0);
    let (end, forgotten) = (Arc::<LogEnd>::default(), Arc::<LogEnd>::default());
    worker.machine.ask_end(Arc::clone(&end));
    worker.machine.ask_end(Arc::clone(&forgotten));
    assert!(!worker.sent().is_empty());
    worker.machine.disconnected();
    drop(forgotten);
    worker.machine.disconnected();
    let (mut hub, mut buffer) = (Hub::default(), Vec::new());
    worker.machine.connected();
    let answer = hub.receive(&worker.sent());
    worker.receive(&mut buffer, &answer);
    let asked = worker.sent();
    let (Frame::AskPosition { token }, length) = decode(&asked, usize::MAX).unwrap().unwrap() else { panic!() };
    assert_eq!(length, asked.len(), "the other one is asked no more");
    let position = Position { epoch: EPOCH, last: 99 };
    worker.receive(&mut buffer, &encoded(&[Frame::Position { token, position }]));
    assert_eq!(end.get(), Some(Cursor { epoch: Epoch::from(EPOCH), seq: 99 }));
    assert!(worker.results.answered);
}

#[test]
fn one_frame_asks_for_all_and_its_answer_is_not_for_later_questions() {
    let (mut worker, _hub) = started(0);
    let ends: Vec<_> = (0..1000).map(|_| Arc::<LogEnd>::default()).collect();
    ends.iter().for_each(|end| worker.machine.ask_end(Arc::clone(end)));
    let asked = worker.sent();
    let (Frame::AskPosition { token }, length) = decode(&asked, usize::MAX).unwrap().unwrap() else { panic!() };
    assert_eq!(length, asked.len());
    let later = Arc::<LogEnd>::default();
    worker.machine.ask_end(Arc::clone(&later));
    let position = Position { epoch: EPOCH, last: 5 };
    worker.receive(&mut Vec::new(), &encoded(&[Frame::Position { token, position }]));
    assert!(ends.iter().all(|end| end.get().is_some_and(|end| end.seq == 5)));
    assert_eq!(later.get(), None);
    assert!(matches!(decode(&worker.sent(), usize::MAX), Ok(Some((Frame::AskPosition { .. }, _)))));
}

#[test]
fn questions_of_clients_that_have_gone_do_not_wait_for_a_hub() {
    let mut worker = Worker::new();
    let held = Arc::<LogEnd>::default();
    let gone: Vec<_> = (0..1000)
        .map(|_| {
            let end = Arc::<LogEnd>::default();
            worker.machine.ask_end(Arc::clone(&end));
            Arc::downgrade(&end)
        })
        .collect();
    worker.machine.ask_end(Arc::clone(&held));
    assert!(gone.iter().all(|end| end.upgrade().is_none()));
    assert_eq!(Arc::strong_count(&held), 2);
}

#[test]
fn a_hub_that_makes_no_sense_is_refused() {
    let refused = |frame: Frame<'_>| {
        let (mut worker, _hub) = started(0);
        worker.machine.receive(&encoded(&[frame]), now()).unwrap_err().to_string()
    };
    let position = Position { epoch: EPOCH, last: 9 };
    let welcome = Welcome { version: 9, position, count: 0, seq: 0, commands: 0, credit: 0, longest: 0 };
    assert_eq!(
        refused(Frame::Welcome(welcome)),
        format!("the hub speaks version 9 of the protocol, and this process {VERSION}")
    );
    for frame in [
        Frame::Continue { after: 5 },
        Frame::End,
        Frame::Authors(Vec::new()),
        Frame::Own { count: 1, seq: 1, run: 1 },
        Frame::Publish { count: 1, message: b"x" },
        Frame::Numbered { count: 1, seq: 1, run: 1 },
    ] {
        assert!(refused(frame).contains("at the wrong time"));
    }
    assert!(refused(Frame::Message { seq: 1, author: OTHER, count: 1, message: b"x" }).contains("a field"));
    // What it knows already is nothing new.
    let (mut worker, mut hub) = started(0);
    hub.other("a");
    let bytes = hub.receive(&[]);
    worker.receive(&mut Vec::new(), &[&bytes[..], &bytes[..]].concat());
    assert_eq!(worker.log().len(), 1);
}

/// A worker that has sent two messages to a hub that has ended, and hello to the next one.
fn reconnected() -> Worker {
    let (mut worker, _hub) = started(1 << 20);
    ["1", "2"].into_iter().for_each(|text| worker.publish(text));
    worker.sent();
    worker.machine.disconnected();
    worker.machine.connected();
    worker.sent();
    worker
}

#[test]
fn a_message_that_a_hub_refused_before_it_died_was_refused_also_without_a_reason() {
    let mut worker = reconnected();
    // Another worker has got the second message, and has told the next hub of it.
    let position = Position { epoch: EPOCH, last: 1 };
    let welcome = Welcome { version: VERSION, position, count: 2, seq: 1, commands: 0, credit: 1, longest: 1 << 20 };
    let frames = [Frame::Welcome(welcome), Frame::Continue { after: 0 }, Frame::Own { count: 2, seq: 1, run: 1 }];
    worker.receive(&mut Vec::new(), &encoded(&frames));
    assert_eq!(outcomes(&worker), [None, Some(1)]);
    assert_eq!(worker.tickets[0].outcome(), Some(Err(Unpublished::Refused(None))));
}

#[test]
fn a_refusal_that_was_missed_comes_before_a_log_as_a_whole() {
    let mut worker = reconnected();
    let position = Position { epoch: EPOCH, last: 9 };
    let welcome = Welcome { version: VERSION, position, count: 2, seq: 0, commands: 0, credit: 1, longest: 1 << 20 };
    let frames = [
        Frame::Welcome(welcome),
        Frame::Refused { count: 2, reason: Refusal::Broken },
        Frame::Reset { position, since: 0 },
        Frame::Authors(vec![Known { author: AUTHOR, count: 1, seq: 8 }]),
        Frame::End,
    ];
    worker.receive(&mut Vec::new(), &encoded(&frames));
    assert_eq!(outcomes(&worker), [Some(0), None]);
    assert_eq!(worker.tickets[1].outcome(), Some(Err(Unpublished::Refused(Some(Refusal::Broken)))));
}
