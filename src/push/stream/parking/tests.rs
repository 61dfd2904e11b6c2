//! Clients get the same whether their messages are sent by the fan-out or by their streams, whatever happens meanwhile.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use rustix::net::sockopt;

use super::super::Stream;
use super::super::tests::Core;

use crate::base::limits::Limits;
use crate::channel::{Draft, Encoding, Member, Policy, Shape, Since, Slow, Subscription, Target};
use crate::net::{Peer, Socket};
use crate::push::fan_out::Parking;
use crate::push::{Client, CloseStatus, EventInterest, Negotiated, Protocol};
use crate::websocket::deflate::WindowBits;

/// Turns in which everything that can go on has gone on.
const TURNS: usize = 12;

/// What the server's sockets may hold for a peer that reads nothing: the least that the system allows.
const SEND_BUFFER: usize = 4096;

/// Counts the turns of a stream.
struct Counting {
    stream: Stream,
    turns: Arc<AtomicUsize>,
}

impl Future for Counting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll(cx)
    }
}

enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Wire {
    /// What has arrived and was not read before. At the end of the stream also that.
    fn read(&mut self, received: &mut Vec<u8>, most: usize) -> usize {
        let (mut buffer, mut read) = ([0; 4096], 0);
        while read < most {
            let room = buffer.len().min(most - read);
            let result = match self {
                Wire::Unix(peer) => peer.read(&mut buffer[..room]),
                Wire::Tcp(peer) => peer.read(&mut buffer[..room]),
            };
            match result {
                Ok(0) => break,
                Ok(length) => {
                    received.extend_from_slice(&buffer[..length]);
                    read += length;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break,
            }
        }
        read
    }

    fn write(&mut self, bytes: &[u8]) {
        // The server may have closed the connection.
        let _ = match self {
            Wire::Unix(peer) => peer.write(bytes),
            Wire::Tcp(peer) => peer.write(bytes),
        };
    }
}

struct Connection {
    client: Arc<Client>,
    /// `None`: it has gone.
    peer: Option<Wire>,
    received: Vec<u8>,
    turns: Arc<AtomicUsize>,
}

impl Connection {
    fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }
}

struct World {
    core: Core,
    connections: Vec<Connection>,
    /// Bytes that were sent before the script began.
    greetings: u64,
    /// The script says when tasks run, so it is certain which messages a client gets at once.
    certain: bool,
}

impl World {
    fn new(on: bool, limits: Limits) -> Self {
        // Epochs differ, but here they must be equally long.
        let long = |core: &Core| epoch(core).len() == 12;
        let core = std::iter::repeat_with(|| Core::new(limits.clone())).find(long).unwrap();
        core.context.fan_out.switch(on);
        for (name, slow) in [("drop", Slow::Drop), ("latest", Slow::Latest), ("kept", Slow::Resume)] {
            let history = if name == "kept" { 100 } else { 0 };
            let policy = Policy { slow, history, presence: name == "kept", ..Policy::default() };
            core.context.pubsub.channels().define(name, policy, Instant::now());
        }
        World { core, connections: Vec::new(), greetings: 0, certain: true }
    }

    fn open(&mut self, protocol: Protocol, encoding: Encoding, tcp: bool) -> usize {
        let _inside = self.core.runtime.enter();
        let (socket, peer) = if tcp {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, _) = listener.accept().unwrap();
            ours.set_nonblocking(true).unwrap();
            ours.set_nodelay(true).unwrap();
            peer.set_nonblocking(true).unwrap();
            (Socket::Tcp(tokio::net::TcpStream::from_std(ours).unwrap()), Wire::Tcp(peer))
        } else {
            let (ours, peer) = UnixStream::pair().unwrap();
            sockopt::set_socket_send_buffer_size(&ours, SEND_BUFFER).unwrap();
            ours.set_nonblocking(true).unwrap();
            peer.set_nonblocking(true).unwrap();
            (Socket::Unix(tokio::net::UnixStream::from_std(ours).unwrap()), Wire::Unix(peer))
        };
        let negotiated = Negotiated { protocol, encoding, deflate: None, since: Since::Now, polls: false };
        let interest = EventInterest { message: true, drained: true, gap: false };
        let client = Client::new(Arc::clone(&self.core.context), negotiated, Peer::Unix, interest);
        let head = Bytes::from_static(b"head");
        let stream = Stream::new(Arc::clone(&client), socket, head, Bytes::new(), None, Box::new(()));
        let turns = Arc::new(AtomicUsize::new(0));
        self.core.runtime.spawn(Counting { stream, turns: Arc::clone(&turns) });
        self.connections.push(Connection { client, peer: Some(peer), received: Vec::new(), turns });
        self.connections.len() - 1
    }

    fn subscribe(&self, at: usize, channel: &str) {
        self.connections[at].client.subscribe(Subscription::to(channel)).unwrap();
        self.connections[at].client.begin_replay();
    }

    fn publish(&self, draft: &Draft<'_>) {
        self.core.context.pubsub.channels().publish(draft, Instant::now()).unwrap();
    }

    fn drive(&mut self) {
        self.core.drive(TURNS);
    }

    fn read(&mut self, at: usize, most: usize) -> usize {
        let Connection { peer, received, .. } = &mut self.connections[at];
        peer.as_mut().map_or(0, |peer| peer.read(received, most))
    }

    /// Until nothing moves any more.
    fn settle(&mut self) {
        loop {
            self.drive();
            let read: usize = (0..self.connections.len()).map(|at| self.read(at, usize::MAX)).sum();
            if read == 0 {
                return;
            }
        }
    }

    /// Forgets what was sent until now: event streams begin with a random pause.
    fn begin(&mut self) {
        self.settle();
        self.connections.iter_mut().for_each(|own| own.received.clear());
        self.greetings = self.core.context.base.stats.bytes_out.get();
    }

    /// What clients and operators see of it.
    fn seen(&mut self) -> Seen {
        self.settle();
        let stats = &self.core.context.base.stats;
        let counts = [&stats.delivered, &stats.bytes_out, &stats.messages_out, &stats.slow_clients, &stats.overruns];
        let mut counts = counts.map(|counter| counter.get());
        counts[1] -= self.greetings;
        let epoch = epoch(&self.core);
        let of = |own: &Connection| {
            let mut received = if own.peer.is_some() { own.received.clone() } else { Vec::new() };
            while let Some(at) = received.windows(epoch.len()).position(|bytes| bytes == epoch.as_bytes()) {
                received[at..at + epoch.len()].fill(b'e');
            }
            (received, own.client.close_status().map(|status| status.code), own.client.pending())
        };
        let times = stats.delivery_time.count();
        assert!(times <= counts[0]);
        // Of messages that a client gets at once, only the newest one is timed. Otherwise a stream that is woken for something else
        // may or may not read a message before the next one is in the log.
        let times = if self.certain { times } else { times.min(1) };
        Seen { clients: self.connections.iter().map(of).collect(), counts, times }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    clients: Vec<(Vec<u8>, Option<u16>, Option<usize>)>,
    counts: [u64; 5],
    times: u64,
}

fn epoch(core: &Core) -> String {
    core.context.pubsub.channels().cursor().epoch.to_string()
}

fn raw() -> Encoding {
    Shape::Raw.into()
}

/// The same script with the fan-out and without it. Returns what was seen.
fn both(limits: Limits, script: impl Fn(&mut World)) -> Seen {
    let [on, off] = [true, false].map(|on| {
        let mut world = World::new(on, limits.clone());
        script(&mut world);
        world.seen()
    });
    // Long texts say nothing more.
    let brief = |seen: &Seen| {
        let clients = seen.clients.iter().map(|(received, status, pending)| {
            let end = received.len().saturating_sub(40);
            (received.len(), String::from_utf8_lossy(&received[end..]).into_owned(), *status, *pending)
        });
        (clients.collect::<Vec<_>>(), seen.counts, seen.times)
    };
    assert!(on == off, "with the fan-out {:?}, without it {:?}", brief(&on), brief(&off));
    on
}

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

#[derive(Debug, Clone)]
enum Step {
    Publish { channel: usize, size: usize, except: Option<usize>, store: bool },
    Write { at: usize, size: usize },
    Subscribe { at: usize, channel: usize, again: bool },
    Unsubscribe { at: usize, channel: usize },
    Ping { at: usize },
    Read { at: usize, most: usize },
    Close { at: usize },
    Gone { at: usize },
    Drive,
}

const CHANNELS: [&str; 3] = ["kept", "other", "third"];
const CLIENTS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, channel) = (|| 0..CLIENTS, || 0..CHANNELS.len());
    let size = || prop_oneof![3 => 1usize..200, 1 => 1000usize..9000, 1 => 20_000usize..70_000];
    let step = prop_oneof![
        10 => (channel(), size(), prop::option::weighted(0.1, at()), any::<bool>())
            .prop_map(|(channel, size, except, store)| Step::Publish { channel, size, except, store }),
        3 => (at(), size()).prop_map(|(at, size)| Step::Write { at, size }),
        3 => (at(), channel(), any::<bool>()).prop_map(|(at, channel, again)| Step::Subscribe { at, channel, again }),
        1 => (at(), channel()).prop_map(|(at, channel)| Step::Unsubscribe { at, channel }),
        1 => at().prop_map(|at| Step::Ping { at }),
        3 => (at(), prop_oneof![1usize..3000, Just(usize::MAX)]).prop_map(|(at, most)| Step::Read { at, most }),
        1 => at().prop_map(|at| Step::Close { at }),
        1 => at().prop_map(|at| Step::Gone { at }),
        10 => Just(Step::Drive),
    ];
    prop::collection::vec(step, 0..80)
}

fn play(world: &mut World, steps: &[Step]) {
    for at in 0..CLIENTS {
        let (protocol, shape) = match at {
            0 => (Protocol::Sse, Shape::EventStream),
            1 => (Protocol::WebSocket, Shape::PushV1),
            _ => (Protocol::WebSocket, Shape::Raw),
        };
        world.open(protocol, shape.into(), false);
    }
    world.drive();
    world.begin();
    for at in 0..CLIENTS {
        world.subscribe(at, "kept");
    }
    world.settle();
    for step in steps {
        match step.clone() {
            Step::Publish { channel, size, except, store } => {
                let except = except.map(|at| world.connections[at].client.id());
                let payload = vec![b'm'; size];
                world.publish(&Draft { except, store, ..Draft::text(CHANNELS[channel], &payload) });
            }
            Step::Write { at, size } => _ = world.connections[at].client.write_message(true, &vec![b'w'; size]),
            Step::Subscribe { at, channel, again } => {
                let since = again.then_some(Since::Unreadable);
                let _ = world.connections[at]
                    .client
                    .subscribe(Subscription { since, ..Subscription::to(CHANNELS[channel]) });
            }
            Step::Unsubscribe { at, channel } => {
                world.connections[at].client.unsubscribe(Target::Channel(CHANNELS[channel]));
            }
            Step::Ping { at } if at > 0 => {
                world.connections[at].peer.iter_mut().for_each(|peer| peer.write(b"\x89\x80\0\0\0\0"));
            }
            Step::Read { at, most } => _ = world.read(at, most),
            Step::Close { at } => world.connections[at].client.close(CloseStatus::new(3000, "")),
            Step::Gone { at } => world.connections[at].peer = None,
            Step::Ping { .. } | Step::Drive => world.drive(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn clients_get_the_same_with_the_fan_out_and_without(steps in steps()) {
        both(Limits::default(), |world| {
            world.certain = false;
            play(world, &steps);
        });
    }
}
