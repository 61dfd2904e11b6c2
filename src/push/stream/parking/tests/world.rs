//! Streams with clients that a test drives turn by turn, with the fan-out or without it.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use rustix::net::sockopt;

use crate::base::limits::Limits;
use crate::channel::{Draft, Encoding, Policy, Shape, Since, Slow, Subscription};
use crate::net::{Peer, Socket};
use crate::push::stream::Stream;
use crate::push::stream::tests::Core;
use crate::push::{Client, EventInterest, Negotiated, Protocol};

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

/// The client's end of a connection.
pub(super) enum Wire {
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

    pub(super) fn write(&mut self, bytes: &[u8]) {
        // The server may have closed the connection.
        let _ = match self {
            Wire::Unix(peer) => peer.write(bytes),
            Wire::Tcp(peer) => peer.write(bytes),
        };
    }
}

/// A client, and what it has got.
pub(super) struct Connection {
    pub(super) client: Arc<Client>,
    /// `None`: it has gone.
    pub(super) peer: Option<Wire>,
    pub(super) received: Vec<u8>,
    turns: Arc<AtomicUsize>,
}

impl Connection {
    pub(super) fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }
}

/// A server's core, and its clients.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) connections: Vec<Connection>,
    /// Bytes that were sent before the script began.
    greetings: u64,
    /// The script says when tasks run, so it is certain which messages a client gets at once.
    pub(super) certain: bool,
}

impl World {
    pub(super) fn new(on: bool, limits: Limits) -> Self {
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

    pub(super) fn open(&mut self, protocol: Protocol, encoding: Encoding, tcp: bool) -> usize {
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

    pub(super) fn subscribe(&self, at: usize, channel: &str) {
        self.connections[at].client.subscribe(Subscription::to(channel)).unwrap();
        self.connections[at].client.begin_replay();
    }

    pub(super) fn publish(&self, draft: &Draft<'_>) {
        self.core.context.pubsub.channels().publish(draft, Instant::now()).unwrap();
    }

    pub(super) fn drive(&mut self) {
        self.core.drive(TURNS);
    }

    pub(super) fn read(&mut self, at: usize, most: usize) -> usize {
        let Connection { peer, received, .. } = &mut self.connections[at];
        peer.as_mut().map_or(0, |peer| peer.read(received, most))
    }

    /// Until nothing moves any more.
    pub(super) fn settle(&mut self) {
        loop {
            self.drive();
            let read: usize = (0..self.connections.len()).map(|at| self.read(at, usize::MAX)).sum();
            if read == 0 {
                return;
            }
        }
    }

    /// Forgets what was sent until now: event streams begin with a random pause.
    pub(super) fn begin(&mut self) {
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

/// What clients and operators see.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) clients: Vec<(Vec<u8>, Option<u16>, Option<usize>)>,
    pub(super) counts: [u64; 5],
    pub(super) times: u64,
}

fn epoch(core: &Core) -> String {
    core.context.pubsub.channels().cursor().epoch.to_string()
}

pub(super) fn raw() -> Encoding {
    Shape::Raw.into()
}

/// The same script with the fan-out and without it. Returns what was seen.
pub(super) fn both(limits: Limits, script: impl Fn(&mut World)) -> Seen {
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
