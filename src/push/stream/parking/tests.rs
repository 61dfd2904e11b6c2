//! Clients get the same whether their messages are sent by the fan-out or by their streams, whatever happens meanwhile.

mod random;
mod world;

use std::future::Future;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::net::sockopt;

use self::world::{Connection, Wire, World, both, raw};
use super::super::Stream;
use crate::base::limits::Limits;
use crate::channel::{Draft, Encoding, Member, Shape, Since, Subscription, Target};
use crate::net::{Peer, Socket};
use crate::push::fan_out::Parking;
use crate::push::{Client, CloseStatus, EventInterest, Negotiated, Protocol};
use crate::websocket::deflate::WindowBits;

#[test]
fn a_message_reaches_parked_clients_without_a_turn_of_their_streams() {
    let deflate = Some(WindowBits::MOST);
    let long = "message ".repeat(500);
    let seen = both(Limits::default(), |world| {
        for tcp in [true, false] {
            world.open(Protocol::WebSocket, raw(), tcp);
            world.open(Protocol::WebSocket, Shape::PushV1.into(), tcp);
            world.open(Protocol::WebSocket, Encoding { shape: Shape::Raw, deflate }, tcp);
            world.open(Protocol::Sse, Shape::EventStream.into(), tcp);
        }
        world.drive();
        for at in 0..8 {
            world.subscribe(at, "kept");
            world.subscribe(at, "other");
        }
        world.begin();
        let turns: Vec<_> = world.connections.iter().map(Connection::turns).collect();
        for text in ["one", "two", &long] {
            world.publish(&Draft::text("kept", text.as_bytes()));
            world.settle();
        }
        // Several at once are one piece of bytes.
        for text in ["three", "four"] {
            world.publish(&Draft::text("other", text.as_bytes()));
        }
        world.settle();
        let on = world.core.context.fan_out.is_on();
        let idle = world.connections.iter().zip(&turns).filter(|(own, turns)| own.turns() == **turns).count();
        assert_eq!(idle, if on { 8 } else { 0 });
    });
    assert_eq!((seen.counts[0], seen.times), (5 * 8, 4 * 8));
    assert!(seen.clients[0].0.ends_with(b"\x81\x05three\x81\x04four"));
}

#[test]
fn a_write_reaches_parked_clients_without_a_turn_of_their_streams() {
    let seen = both(Limits::default(), |world| {
        for tcp in [true, false] {
            world.open(Protocol::WebSocket, raw(), tcp);
            world.open(Protocol::Sse, Shape::EventStream.into(), tcp);
        }
        world.begin();
        for own in &world.connections {
            assert!(own.client.write_message(true, b"the first makes it known"));
        }
        world.settle();
        let turns: Vec<_> = world.connections.iter().map(Connection::turns).collect();
        for text in ["one", "two"] {
            for own in &world.connections {
                assert!(own.client.write_message(true, text.as_bytes()));
                assert!(own.client.write_message(true, b"and more"));
                assert_eq!(own.client.pending(), Some(2));
            }
            world.settle();
        }
        let on = world.core.context.fan_out.is_on();
        let idle = world.connections.iter().zip(&turns).filter(|(own, turns)| own.turns() == **turns).count();
        assert_eq!(idle, if on { 4 } else { 0 });
    });
    assert_eq!(seen.counts[2], 4 * 5);
    assert!(seen.clients.iter().all(|(_, _, pending)| *pending == Some(0)));
}

#[test]
fn a_write_in_the_middle_of_a_broadcast_is_not_forgotten() {
    for turns in 0..6 {
        both(Limits::default(), |world| {
            for _ in 0..100 {
                world.open(Protocol::WebSocket, raw(), false);
            }
            for text in ["the first makes it known", "second"] {
                for own in &world.connections {
                    assert!(own.client.write_message(true, text.as_bytes()));
                }
                world.core.drive(turns + 1);
                assert!(world.connections[0].client.write_message(true, b"one more"));
                world.core.drive(turns + 1);
                assert!(world.connections[1].client.write_message(true, b"one more"));
            }
            world.settle();
            assert!(world.connections.iter().all(|own| own.client.pending() == Some(0)));
        });
    }
}

#[test]
fn a_message_in_the_middle_of_a_delivery_is_not_forgotten() {
    for turns in 0..6 {
        let mut world = World::new(true, Limits::default());
        for _ in 0..100 {
            world.open(Protocol::WebSocket, raw(), false);
        }
        world.settle();
        for at in 0..100 {
            world.subscribe(at, "kept");
        }
        world.begin();
        for text in ["first", "second"] {
            world.publish(&Draft::text("kept", text.as_bytes()));
            world.core.drive(turns + 1);
            // Another reader takes its place among the channel's readers.
            assert!(world.connections[turns].client.unsubscribe(Target::Channel("kept")).0);
            world.publish(&Draft::text("kept", b"one more"));
            world.core.drive(turns + 1);
            world.subscribe(turns, "kept");
        }
        world.settle();
        for (_, own) in world.connections.iter().enumerate().filter(|(at, _)| *at != turns) {
            assert_eq!(own.received, b"\x81\x05first\x81\x08one more\x81\x06second\x81\x08one more");
        }
    }
}

/// Those that the delivery reaches after the second message get both at once. Then it goes through the readers again.
#[test]
fn a_message_in_the_middle_of_a_delivery_wakes_no_parked_stream() {
    for turns in 0..6 {
        let mut world = World::new(true, Limits::default());
        for _ in 0..200 {
            world.open(Protocol::WebSocket, raw(), false);
        }
        world.settle();
        for at in 0..200 {
            world.subscribe(at, "kept");
        }
        world.begin();
        let before: Vec<_> = world.connections.iter().map(Connection::turns).collect();
        for text in ["first", "second", "third"] {
            world.publish(&Draft::text("kept", text.as_bytes()));
            world.core.drive(turns + 1);
        }
        world.settle();
        let after: Vec<_> = world.connections.iter().map(Connection::turns).collect();
        assert_eq!(before, after, "{} turns between the messages", turns + 1);
        assert!(world.connections.iter().all(|own| own.received == b"\x81\x05first\x81\x06second\x81\x05third"));
    }
}

/// What makes a stream look for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unusual {
    Nothing,
    Write,
    WriteMuch,
    Close,
    Interval,
    Resubscribe,
    SecondSubscription,
    Unsubscribe,
    Presence,
    Ping,
    Violation,
    HalfClosed,
    Gone,
    Dismissed,
    Drain,
}

impl Unusual {
    const ALL: [Unusual; 15] = [
        Unusual::Nothing,
        Unusual::Write,
        Unusual::WriteMuch,
        Unusual::Close,
        Unusual::Interval,
        Unusual::Resubscribe,
        Unusual::SecondSubscription,
        Unusual::Unsubscribe,
        Unusual::Presence,
        Unusual::Ping,
        Unusual::Violation,
        Unusual::HalfClosed,
        Unusual::Gone,
        Unusual::Dismissed,
        Unusual::Drain,
    ];

    fn happens(self, world: &mut World, at: usize) {
        let own = &mut world.connections[at];
        match self {
            Unusual::Nothing => {}
            Unusual::Write => assert!(own.client.write_message(true, b"written")),
            Unusual::WriteMuch => assert!(own.client.write_message(true, &[b'w'; 30_000])),
            Unusual::Close => own.client.close(CloseStatus::new(3000, "")),
            Unusual::Interval => own.client.set_interval(None),
            Unusual::Resubscribe => {
                own.client.unsubscribe(Target::Channel("kept"));
                own.client.subscribe(Subscription::to("kept")).unwrap();
            }
            Unusual::SecondSubscription => {
                let since = Some(Since::Unreadable);
                assert!(own.client.subscribe(Subscription { since, ..Subscription::to("other") }).unwrap());
            }
            Unusual::Unsubscribe => assert!(own.client.unsubscribe(Target::Channel("kept")).0),
            Unusual::Presence => {
                let member = Some(Member { name: "someone", info: "" });
                assert!(own.client.subscribe(Subscription { member, ..Subscription::to("members") }).is_ok());
            }
            Unusual::Ping => own.peer.iter_mut().for_each(|peer| peer.write(b"\x89\x80\0\0\0\0")),
            Unusual::Violation => own.peer.iter_mut().for_each(|peer| peer.write(b"\x8f\x80\0\0\0\0")),
            Unusual::HalfClosed => match &own.peer {
                Some(Wire::Unix(peer)) => peer.shutdown(std::net::Shutdown::Write).unwrap(),
                Some(Wire::Tcp(peer)) => peer.shutdown(std::net::Shutdown::Write).unwrap(),
                None => {}
            },
            Unusual::Gone => own.peer = None,
            Unusual::Dismissed => own.client.dismiss(),
            Unusual::Drain => world.core.context.close_all(),
        }
    }
}

/// Every reason to look for itself, before and behind a message, with a socket that takes all, some or nothing.
#[test]
fn whatever_happens_to_a_parked_stream_clients_get_the_same() {
    for unusual in Unusual::ALL {
        for fill in [0, 2, 3, 4, 5, 6] {
            for size in [5, 50_000] {
                for order in ["before", "behind", "later"] {
                    let message = vec![b'm'; size];
                    both(Limits::default(), |world| {
                        let at = world.open(Protocol::WebSocket, Shape::PushV1.into(), false);
                        let other = world.open(Protocol::WebSocket, raw(), false);
                        world.drive();
                        world.subscribe(at, "kept");
                        world.subscribe(other, "kept");
                        world.settle();
                        for _ in 0..fill {
                            world.publish(&Draft::text("kept", b"fills"));
                            world.drive();
                        }
                        if order == "before" {
                            unusual.happens(world, at);
                        }
                        world.publish(&Draft::text("kept", &message));
                        if order == "later" {
                            world.drive();
                        }
                        if order != "before" {
                            unusual.happens(world, at);
                        }
                        world.publish(&Draft::text("kept", b"the last"));
                    });
                }
            }
        }
    }
}

#[test]
fn a_connection_that_is_reset_ends_as_without_the_fan_out() {
    for protocol in [Protocol::WebSocket, Protocol::Sse] {
        for before in [true, false] {
            let shape = if protocol == Protocol::Sse { Shape::EventStream } else { Shape::Raw };
            let seen = both(Limits::default(), |world| {
                let at = world.open(protocol, shape.into(), true);
                world.drive();
                world.subscribe(at, "kept");
                world.settle();
                if !before {
                    world.publish(&Draft::text("kept", b"message"));
                }
                if let Some(Wire::Tcp(peer)) = world.connections[at].peer.take() {
                    sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
                }
                if before {
                    world.publish(&Draft::text("kept", b"message"));
                }
                world.drive();
                world.publish(&Draft::text("kept", b"message"));
                world.core.drive_until("the end of the client", || {
                    world.connections[at].client.pending().is_none().then_some(())
                });
            });
            assert_eq!(seen.clients[0].1, (protocol == Protocol::WebSocket).then_some(1006));
        }
    }
}

#[test]
fn a_descriptor_that_is_used_again_gets_nothing() {
    let mut world = World::new(true, Limits::default());
    let at = world.open(Protocol::WebSocket, raw(), false);
    let stays = world.open(Protocol::WebSocket, raw(), false);
    world.drive();
    for at in [at, stays] {
        world.subscribe(at, "kept");
    }
    world.settle();
    world.publish(&Draft::text("kept", b"message"));
    world.settle();
    let peer = world.connections[at].peer.take();
    drop(peer);
    world.drive();
    assert_eq!(world.connections[at].client.pending(), None);
    // One of these has the number that was the stream's, unless another thread was faster.
    let pairs: Vec<_> = (0..8).map(|_| UnixStream::pair().unwrap()).collect();
    world.publish(&Draft::text("kept", b"more"));
    world.settle();
    assert!(world.connections[stays].received.ends_with(b"\x81\x04more"));
    for end in pairs.iter().flat_map(|(one, other)| [one, other]) {
        end.set_nonblocking(true).unwrap();
        let read = (&mut &*end).read(&mut [0; 16]);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// What is sent for a stream counts as if the stream had sent it.
#[test]
fn a_stream_takes_over_times_and_counts() {
    let mut world = World::new(true, Limits::default());
    let (ours, peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    let negotiated =
        Negotiated { protocol: Protocol::WebSocket, encoding: raw(), deflate: None, since: Since::Now, polls: false };
    let interest = EventInterest { message: false, drained: false, gap: false };
    let client = Client::new(Arc::clone(&world.core.context), negotiated, Peer::Unix, interest);
    let inside = world.core.runtime.enter();
    let socket = Socket::Unix(tokio::net::UnixStream::from_std(ours).unwrap());
    let head = Bytes::from_static(b"head");
    let mut stream = Stream::new(Arc::clone(&client), socket, head, Bytes::new(), None, Box::new(()));
    drop(inside);
    // A task that the test polls: a message must not wake it.
    let polls = |world: &mut World, stream: &mut Stream| {
        let mut left = 4;
        world.core.runtime.block_on(std::future::poll_fn(|cx| {
            left -= 1;
            assert!(Pin::new(&mut *stream).poll(cx).is_pending());
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
    };
    polls(&mut world, &mut stream);
    client.subscribe(Subscription::to("kept")).unwrap();
    client.begin_replay();
    polls(&mut world, &mut stream);
    assert!(stream.parking.is(Parking::PARKED));
    let (written, at) = (stream.bytes_written, stream.last_write_at);
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.core.context.base.timers.now() <= at {
        assert!(Instant::now() < deadline);
    }
    for _ in 0..3 {
        world.publish(&Draft::text("kept", b"message"));
        world.drive();
    }
    assert_eq!((stream.parking.is(Parking::PARKED), stream.bytes_written, stream.last_write_at), (true, written, at));
    stream.unpark();
    assert_eq!((stream.parking.is(Parking::PARKED), stream.bytes_written), (false, written + 27));
    assert!(stream.last_write_at > at);
    assert!(stream.due.is_some());
    let _inside = world.core.runtime.enter();
    drop(stream);
    drop(peer);
}

/// Clients that read nothing skip messages, or are closed, and are told so, also if they were parked before.
#[test]
fn slow_clients_are_found_out() {
    for channel in ["drop", "latest", "kept"] {
        let limits = Limits { slow_timeout: Duration::from_millis(40), slow_bytes: 2000, ..Limits::default() };
        let mut world = World::new(true, limits);
        let at = world.open(Protocol::WebSocket, Shape::PushV1.into(), false);
        world.drive();
        world.subscribe(at, channel);
        world.settle();
        let stats = Arc::clone(&world.core.context);
        let (drops, slow) = (&stats.base.stats.drops, &stats.base.stats.slow_clients);
        let deadline = Instant::now() + Duration::from_secs(20);
        while drops.get() == 0 && slow.get() == 0 {
            assert!(Instant::now() < deadline, "{channel}");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(200) && slow.get() == 0 {
                world.publish(&Draft::text(channel, &[b'm'; 500]));
                world.core.drive(2);
            }
            // It is told when it reads again. Of skipped messages of this channel, it is not told.
            world.settle();
            if channel == "latest" {
                break;
            }
        }
        world.publish(&Draft::text(channel, b"the last"));
        world.settle();
        let own = &world.connections[at];
        if channel == "kept" {
            assert_eq!(own.client.close_status().unwrap().code, 1013);
        } else {
            let end = String::from_utf8_lossy(&own.received[own.received.len() - 300..]);
            assert!(end.contains("the last"), "{channel}: {end} {:?}", own.client.close_status());
            assert_eq!(own.client.close_status(), None);
        }
    }
}
