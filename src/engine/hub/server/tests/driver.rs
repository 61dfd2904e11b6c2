//! The hub with real sockets, and a thread for its loop.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Instant, SystemTime};

use super::author::bytes_of;
use super::supervisor::{Client, Supervisor};
use crate::channel::{Draft, Limits, Message, codec};
use crate::engine::hub::protocol::{Frame, Position, Role, VERSION, decode};
use crate::engine::hub::server::{NumberStore, Outcome};

#[test]
fn an_outsider_publishes_to_workers() {
    let numbers = NumberStore::anonymous().unwrap();
    let mut supervisor = Supervisor::start(&numbers, "first");
    let (mut one, mut other) = (supervisor.worker(1, None), supervisor.worker(2, None));
    one.log();
    other.log();
    let mut outsider = supervisor.outsider(77);
    assert_eq!(outsider.welcome().count, 0);
    outsider.publish(1);
    assert_eq!(outsider.numbered(), 1);
    assert_eq!((one.next(), other.next()), ((1, 1), (1, 1)));
    one.publish(1);
    assert_eq!(other.next(), (2, 1));
    let own = |frame: &Frame<'_>| if let Frame::Own { seq, .. } = frame { Some(*seq) } else { None };
    assert_eq!(one.wait(own), Some(2));
    supervisor.tell("ping 7", Vec::new());
    assert_eq!(supervisor.line(), "pong 7");
    supervisor.interrupt.send();
    supervisor.tell("ping 8", Vec::new());
    assert_eq!(supervisor.line(), "pong 8");
    assert_eq!(numbers.last(), 2);
    assert_eq!(supervisor.stop(), Outcome::Ended);
    // What it has written arrives, and then the end.
    assert_eq!(other.wait(|_| None::<()>), None);
}

#[test]
fn an_outsider_gets_the_answers_to_its_messages_before_a_position() {
    let numbers = NumberStore::anonymous().unwrap();
    let supervisor = Supervisor::start(&numbers, "first");
    let mut worker = supervisor.worker(1, None);
    worker.log();
    let mut outsider = supervisor.outsider(77);
    outsider.welcome();
    let ask = |outsider: &mut Client, messages: u64| {
        (1..=messages).for_each(|count| outsider.publish(count));
        outsider.send(&Frame::AskPosition { token: 1 });
        let mut numbered = 0;
        let last = outsider.wait(|frame| match frame {
            Frame::Numbered { run, .. } => {
                numbered += run;
                None
            }
            Frame::Position { position, .. } => Some(position.last),
            _ => None,
        });
        (numbered, last)
    };
    assert_eq!(ask(&mut outsider, 20), (20, Some(20)));
    // The same process connects again, and has not got the answers.
    let mut again = supervisor.outsider(77);
    assert_eq!(again.welcome().count, 20);
    assert_eq!(ask(&mut again, 0), (20, Some(20)));
    supervisor.stop();
}

#[test]
fn tells_which_worker_has_lost_its_connection_unless_it_has_ended() {
    let mut supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    // Its end closes the connection.
    let mut worker = supervisor.worker(1, None);
    worker.log();
    drop(worker);
    assert_eq!(supervisor.line(), "lost 1");
    // The hub closes the connection.
    let mut worker = supervisor.worker(2, None);
    worker.log();
    worker.socket.write_all(&[0xff; 64]).unwrap();
    assert_eq!(supervisor.line(), "lost 2");
    // The descriptor has not come.
    supervisor.tell("worker 3 1", Vec::new());
    assert_eq!(supervisor.line(), "lost 3");
    // It has ended, as an outsider does.
    let (mut worker, mut outsider) = (supervisor.worker(4, None), supervisor.outsider(77));
    worker.log();
    outsider.welcome();
    supervisor.tell("gone 4", Vec::new());
    supervisor.tell("ping 1", Vec::new());
    assert_eq!(supervisor.line(), "pong 1");
    drop((worker, outsider));
    // The worker comes back, and goes on.
    let mut worker = supervisor.worker(1, None);
    worker.log();
    supervisor.tell("ping 2", Vec::new());
    assert_eq!(supervisor.line(), "pong 2");
    supervisor.stop();
}

#[test]
fn the_connection_of_a_worker_ends_with_the_worker_also_if_a_child_has_inherited_it() {
    let supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    let (mut one, mut other) = (supervisor.worker(1, None), supervisor.worker(2, None));
    one.log();
    other.log();
    (1..=100).for_each(|count| one.publish(count));
    // This process has the worker's end of the socket, and keeps it.
    supervisor.tell("gone 1", Vec::new());
    assert_eq!(one.wait(|_| None::<()>), None);
    (1..=100).for_each(|count| assert_eq!(other.next(), (count, count)));
    supervisor.stop();
}

#[test]
fn ends_with_its_supervisor() {
    let supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    let Supervisor { link, thread, .. } = supervisor;
    drop(link);
    assert_eq!(thread.join().unwrap(), Outcome::Ended);
}

#[test]
fn a_peer_that_breaks_the_protocol_is_closed_and_no_other() {
    let supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    let mut good = supervisor.outsider(1);
    good.welcome();
    let breaks: [fn(&mut Client); 5] = [
        |client| client.socket.write_all(&[0xff; 64]).unwrap(),
        |client| client.send(&Frame::End),
        |client| client.send(&Frame::Rules { generation: 1, rules: Vec::new() }),
        // One more hello.
        |client| {
            client.send(&Frame::Hello {
                version: VERSION,
                role: Role::Outsider,
                author: 9,
                settled: 0,
                commands: 0,
                position: None,
            })
        },
        |client| client.socket.write_all(&[0, 0, 0, 1, 99]).unwrap(),
    ];
    for break_it in breaks {
        let mut bad = supervisor.outsider(2);
        bad.welcome();
        break_it(&mut bad);
        assert_eq!(bad.wait(|_| None::<()>), None);
    }
    let mut old = Client { socket: UnixStream::connect(&supervisor.place).unwrap(), author: 3, bytes: Vec::new() };
    old.send(&Frame::Hello {
        version: VERSION + 1,
        role: Role::Outsider,
        author: 3,
        settled: 0,
        commands: 0,
        position: None,
    });
    assert_eq!(old.wait(|_| None::<()>), None);
    // An outsider cannot pretend to be a worker.
    let socket = UnixStream::connect(&supervisor.place).unwrap();
    assert_eq!(Client::new(socket, Role::Worker, 4, None).wait(|_| None::<()>), None);
    good.publish(1);
    assert_eq!(good.numbered(), 1);
    supervisor.stop();
}

#[test]
fn what_is_no_message_is_refused_and_takes_no_number() {
    let supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    let mut outsider = supervisor.outsider(5);
    let longest = outsider.welcome().longest as usize;
    assert!(longest < 64 << 20);
    let encoded = |draft: &Draft<'_>| {
        let now = (Instant::now(), SystemTime::now());
        let mut bytes = Vec::new();
        codec::encode(&Message::new(draft, &Limits::default(), now.0).unwrap(), now, &mut bytes).unwrap();
        bytes
    };
    let good = encoded(&Draft::text("a", b"hi"));
    let mut broken = good.clone();
    broken[4] = 99;
    let cases = [
        broken,
        Vec::new(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"more"].concat(),
        encoded(&Draft { kind: crate::channel::Kind::Server, ..Draft::text("a", b"{}") }),
    ];
    let mut count = 0;
    for message in cases {
        count += 1;
        outsider.send(&Frame::Publish { count, message: &message });
        let refused = |frame: &Frame<'_>| if let Frame::Refused { count, .. } = frame { Some(*count) } else { None };
        assert_eq!(outsider.wait(refused), Some(count));
    }
    outsider.send(&Frame::Publish { count: count + 1, message: &good });
    assert_eq!(outsider.numbered(), 1);
    // The same count again is the same message.
    outsider.send(&Frame::Publish { count: count + 1, message: &good });
    outsider.send(&Frame::Publish { count: count + 2, message: &good });
    assert_eq!(outsider.numbered(), 2);
    supervisor.stop();
}

#[test]
fn another_hub_takes_the_log_over() {
    let numbers = NumberStore::anonymous().unwrap();
    let first = Supervisor::start(&numbers, "first");
    let mut worker = first.worker(1, None);
    worker.log();
    let mut outsider = first.outsider(77);
    outsider.welcome();
    (1..=3).for_each(|count| outsider.publish(count));
    assert_eq!((worker.next(), worker.next(), worker.next()), ((1, 1), (2, 2), (3, 3)));
    let epoch = u64::from(numbers.epoch().unwrap());
    let (from, to) = UnixStream::pair().unwrap();
    let next = Supervisor::start(&numbers, "");
    next.tell("recover processes=1 handover", vec![from.into()]);
    first.tell("handover", vec![to.into()]);
    assert_eq!(first.thread.join().unwrap(), Outcome::Ended);
    // The worker has seen two messages; the hub has the third one.
    let mut worker = next.worker(1, Some(Position { epoch, last: 2 }));
    assert_eq!(worker.next(), (3, 3));
    let welcome = next.outsider(77).welcome();
    assert_eq!((welcome.count, welcome.seq, welcome.position), (3, 3, Position { epoch, last: 3 }));
    next.stop();
}

#[test]
fn a_worker_that_takes_nothing_holds_nobody_up() {
    let supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    let (mut stuck, mut good) = (supervisor.worker(1, None), supervisor.worker(2, None));
    stuck.log();
    good.log();
    let mut outsider = supervisor.outsider(77);
    let mut credit = i64::from(outsider.welcome().credit);
    let message = bytes_of((77, 1));
    let long = [&message[..], &[b'x'; 60_000]].concat();
    let mut long = long;
    let length = (long.len() as u32 - 4).to_be_bytes();
    long[..4].copy_from_slice(&length);
    // Much more than what the hub keeps of the log.
    for count in 1..=600 {
        while credit <= 0 {
            credit += outsider
                .wait(|frame| if let Frame::Credit { bytes } = frame { Some(i64::from(*bytes)) } else { None })
                .unwrap();
        }
        let mut bytes = Vec::new();
        Frame::Publish { count, message: &long }.encode(&mut bytes);
        credit -= bytes.len() as i64;
        outsider.socket.write_all(&bytes).unwrap();
        assert_eq!(good.next(), (count, count));
    }
    // It comes back, and gets what is left. Its own end says that it has missed something.
    let missed = |frame: &Frame<'_>| if let Frame::Reset { since, .. } = frame { Some(*since) } else { None };
    let since = stuck.wait(missed).unwrap();
    assert!(since > 0 && since < 600, "{since}");
    stuck.log();
    outsider.publish(601);
    assert_eq!((stuck.next(), good.next()), ((601, 601), (601, 601)));
    supervisor.stop();
}

/// Messages in a second from one author to two workers, and the hub's time for it. It measures the whole process: the author
/// and the workers, too.
#[test]
#[ignore = "a measurement"]
fn measure() {
    const MESSAGES: u64 = 500_000;
    let supervisor = Supervisor::start(&NumberStore::anonymous().unwrap(), "first");
    let workers: Vec<_> = (1..=2)
        .map(|process| {
            let mut worker = supervisor.worker(process, None);
            worker.log();
            std::thread::spawn(move || {
                let mut piece = vec![0; 256 << 10];
                let last = |frame: &Frame<'_>| match frame {
                    Frame::Message { seq, .. } if *seq == MESSAGES => Some(()),
                    _ => None,
                };
                loop {
                    let mut start = 0;
                    while let Some((frame, length)) = decode(&worker.bytes[start..], usize::MAX).unwrap() {
                        start += length;
                        if last(&frame).is_some() {
                            return;
                        }
                    }
                    worker.bytes.drain(..start);
                    let count = worker.socket.read(&mut piece).unwrap();
                    worker.bytes.extend_from_slice(&piece[..count]);
                }
            })
        })
        .collect();
    let mut outsider = supervisor.outsider(77);
    let mut credit = i64::from(outsider.welcome().credit);
    let message = bytes_of((77, 1));
    let start = std::time::Instant::now();
    let mut bytes = Vec::new();
    for count in 1..=MESSAGES {
        let before = bytes.len();
        Frame::Publish { count, message: &message }.encode(&mut bytes);
        credit -= (bytes.len() - before) as i64;
        if bytes.len() > 16 << 10 || credit <= 0 {
            outsider.socket.write_all(&bytes).unwrap();
            bytes.clear();
        }
        while credit <= 0 {
            credit += outsider
                .wait(|frame| if let Frame::Credit { bytes } = frame { Some(i64::from(*bytes)) } else { None })
                .unwrap();
        }
    }
    outsider.socket.write_all(&bytes).unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let time = start.elapsed();
    println!("{MESSAGES} messages in {time:?}: {:.0} a second", MESSAGES as f64 / time.as_secs_f64());
    supervisor.stop();
}
