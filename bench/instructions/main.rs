//! The core's hot paths, for counting instructions: `rake instructions` runs this under valgrind.
//!
//! `instructions PATH TIMES` runs the path TIMES times. Without arguments it lists the paths, each with the number of its
//! operations. The difference of two runs is the cost of the path without its setup. Everything runs on one thread, and
//! nothing depends on the clock, so the figures are the same each time.

use std::error::Error;
use std::future::poll_fn;
use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use push_core::Limits;
use push_core::base::lock::Lock;
use push_core::channel::{Draft, Shape, Since, Subscription};
use push_core::engine::Local;
use push_core::http::connection;
use push_core::http::h1::framing::Scanner;
use push_core::http::origin::Allowed;
use push_core::http::{self as core_http, Dispatch, Request, Response, ResponseHeaders};
use push_core::net::{Accepted, ListenerId, Peer, Socket};
use push_core::push::delivery::Delivery;
use push_core::push::fan_out::Writing;
use push_core::push::queue::Frame;
use push_core::push::stream::Stream;
use push_core::push::{
    self, Callbacks, Client, Event, EventInterest, LastWrite, Message, Negotiated, Protocol, PubSub, Turn,
};
use push_core::websocket::{Decoder, Incoming, Opcode};
use push_core::{base, sse};
use tokio::runtime::Runtime;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A hot path of the core.
struct Path {
    name: &'static str,
    /// How many operations one run has.
    operations: u32,
    run: fn(times: u32) -> Result,
}

const PATHS: &[Path] = &[
    Path { name: "scan a request's head", operations: 100, run: scan },
    Path { name: "answer a request", operations: 100, run: answer },
    Path { name: "decode a message", operations: 1000, run: decode },
    Path { name: "frame a message", operations: 1000, run: frame },
    Path { name: "make an event", operations: 1000, run: event },
    Path { name: "deliver a message to one of 1000 clients", operations: CLIENTS as u32, run: deliver_messages },
    Path { name: "deliver an event to one of 1000 clients", operations: CLIENTS as u32, run: deliver_events },
    Path { name: "publish a message to one of 1000 subscribers", operations: CLIENTS as u32, run: publish },
    Path { name: "echo a message", operations: ECHOES as u32, run: echo },
];

const CLIENTS: usize = 1000;
const ECHOES: usize = 100;

/// The text of the messages.
const TEXT: &[u8] = br#"{"channel":"prices","symbol":"PUSH","price":101.25,"seq":123456}"#;

const REQUEST: &[u8] = b"GET /articles/42?page=2 HTTP/1.1\r\n\
    host: www.example.com\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    accept-language: en-US,en;q=0.5\r\n\
    accept-encoding: gzip, deflate, br, zstd\r\n\
    referer: https://www.example.com/articles\r\n\
    connection: keep-alive\r\n\
    cookie: session=BAh7B0kiD3Nlc3Npb25faWQGOgZFVEkiJWE4MmM\r\n\
    \r\n";

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [name, times] => {
            let path = PATHS.iter().find(|path| path.name == name).ok_or("there is no such path")?;
            (path.run)(times.parse()?)
        }
        _ => {
            PATHS.iter().for_each(|path| println!("{} {}", path.operations, path.name));
            Ok(())
        }
    }
}

// ---- without a socket ----------------------------------------------------------------------

fn scan(times: u32) -> Result {
    let mut scanner = Scanner::new(&Limits::default(), true);
    for _ in 0..times * 100 {
        black_box(scanner.scan(black_box(REQUEST)));
    }
    Ok(())
}

fn decode(times: u32) -> Result {
    let mut decoder = Decoder::new(Limits::default().max_message_size);
    let wire = masked(TEXT).repeat(1000);
    for _ in 0..times {
        let mut input = black_box(&wire[..]);
        while let Some(incoming) = decoder.decode(&mut input).map_err(|status| status.reason.clone())? {
            let Incoming::Message(Message::Text(text)) = &incoming else { return Err("not what was sent".into()) };
            black_box(text);
        }
    }
    Ok(())
}

fn frame(times: u32) -> Result {
    for _ in 0..times * 1000 {
        Frame::message(Opcode::Text, black_box(TEXT)).for_each(|frame| drop(black_box(frame)));
    }
    Ok(())
}

fn event(times: u32) -> Result {
    let fields = sse::Fields { event: Some("price"), id: Some("123456"), retry: None };
    for _ in 0..times * 1000 {
        black_box(sse::event(black_box(fields), black_box(TEXT)));
    }
    Ok(())
}

fn masked(payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut wire = vec![0x81, 0x80 | payload.len() as u8];
    wire.extend(mask);
    wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    wire
}

// ---- with sockets --------------------------------------------------------------------------

fn answer(times: u32) -> Result {
    let mut core = Core::new()?;
    let mut peer = core.serve_http()?;
    let mut answer = [0; 1024];
    for _ in 0..times * 100 {
        peer.write_all(REQUEST)?;
        let inbox = Arc::clone(&core.inbox);
        let request = core.drive_until(|| Ok(inbox.requests.lock().pop()))?;
        let response = Response::new(200, ResponseHeaders::new())?.with_bytes(Bytes::from_static(b"Hello"));
        request.responder.respond(response);
        let length = core.drive_until(|| match peer.read(&mut answer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        if !(answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n") && answer[..length].ends_with(b"\r\n\r\nHello")) {
            return Err("another answer".into());
        }
    }
    Ok(())
}

fn deliver_messages(times: u32) -> Result {
    // The same message to all, as `clients.each { |client| client.write(text) }` writes it.
    let mut last = LastWrite::new();
    deliver(times, Protocol::WebSocket, |client| last.write_message(client, true, black_box(TEXT)))
}

fn deliver_events(times: u32) -> Result {
    let fields = sse::Fields { event: Some("price"), id: None, retry: None };
    let mut last = LastWrite::new();
    deliver(times, Protocol::Sse, |client| last.write_event(client, fields, black_box(TEXT)))
}

fn deliver(times: u32, protocol: Protocol, mut write: impl FnMut(&Client) -> bool) -> Result {
    let mut core = Core::new()?;
    let room = core.open(protocol, CLIENTS)?;
    for _ in 0..times {
        if !room.clients.iter().all(|client| write(client)) {
            return Err("a client is closed".into());
        }
        core.drive_until(|| Ok(room.is_delivered()))?;
    }
    Ok(())
}

fn publish(times: u32) -> Result {
    let mut core = Core::new()?;
    let room = core.open(Protocol::WebSocket, CLIENTS)?;
    for client in &room.clients {
        client.subscribe(Subscription::to("prices"))?;
        client.begin_replay();
    }
    {
        let _inside = core.runtime.enter();
        core.runtime.spawn(Delivery::new(Arc::clone(&core.context)));
    }
    let delivered = core.context.base.stats.clone();
    for round in 1..=u64::from(times) {
        let channels = core.context.pubsub.channels();
        channels.post(&Draft::text("prices", black_box(TEXT)), core.context.base.timers.now())?;
        core.drive_until(|| Ok((delivered.delivered.get() == round * CLIENTS as u64).then_some(())))?;
    }
    Ok(())
}

fn echo(times: u32) -> Result {
    let mut core = Core::new()?;
    let mut room = core.open(Protocol::WebSocket, ECHOES)?;
    let message = masked(TEXT);
    for _ in 0..times {
        for peer in &mut room.peers {
            peer.write_all(&message)?;
        }
        let mut echoed = 0;
        while echoed < ECHOES {
            let inbox = Arc::clone(&core.inbox);
            let client = core.drive_until(|| Ok(inbox.take_client()))?;
            let turn = Turn::begin(client);
            while let Some(event) = turn.next_event() {
                if let Event::Message(Message::Text(text)) = event {
                    echoed += usize::from(turn.client().write_message(true, &text));
                }
            }
        }
        core.drive_until(|| Ok(room.is_delivered()))?;
    }
    Ok(())
}

/// What the core has for its workers, which do not exist here: `main`'s thread does their part.
#[derive(Default)]
struct Inbox {
    requests: Lock<Vec<Request>>,
    clients: Lock<Vec<Arc<Client>>>,
}

impl Inbox {
    fn take_client(&self) -> Option<Arc<Client>> {
        self.clients.lock().pop()
    }
}

impl Dispatch for Inbox {
    fn dispatch(&self, request: Box<Request>) -> std::result::Result<(), Box<Request>> {
        self.requests.lock().push(*request);
        Ok(())
    }
}

impl Callbacks for Inbox {
    fn ready(&self, client: Arc<Client>) {
        self.clients.lock().push(client);
    }
}

/// Clients, and the other ends of their connections.
struct Room {
    clients: Vec<Arc<Client>>,
    peers: Vec<TcpStream>,
}

impl Room {
    /// Whether the sockets have taken everything. Streams run in the order of the writes, so the last one ends last.
    fn is_delivered(&self) -> Option<()> {
        let last = [self.clients.first(), self.clients.last()];
        last.into_iter().flatten().all(|client| client.pending() == Some(0)).then_some(())
    }
}

/// A reactor without a standby thread and without listeners. The thread that owns the core drives it.
struct Core {
    runtime: Runtime,
    inbox: Arc<Inbox>,
    context: Arc<push::Context>,
    listener: TcpListener,
    spare: Vec<Waker>,
}

impl Core {
    fn new() -> Result<Self> {
        let inbox: Arc<Inbox> = Arc::default();
        let callbacks = Arc::clone(&inbox) as Arc<dyn Callbacks>;
        let context =
            push::Context::new(Arc::new(base::Context::new(Limits::default())), callbacks, PubSub::new(Local::shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let context = Arc::new(context);
        runtime.spawn(Writing::new(Arc::clone(&context)));
        Ok(Core { runtime, inbox, context, listener, spare: Vec::new() })
    }

    /// Drives until `done` has a value, as a worker does that waits for jobs.
    fn drive_until<T>(&mut self, mut done: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let mut done = pin!(async {
            loop {
                if let Some(value) = done()? {
                    return Ok(value);
                }
                tokio::task::yield_now().await;
            }
        });
        let (context, spare) = (&self.context, &mut self.spare);
        let result = self.runtime.block_on(poll_fn(|cx| {
            context.base.timers.begin_turn();
            context.base.wakeups.attend(cx.waker(), spare);
            done.as_mut().poll(cx)
        }));
        context.base.wakeups.leave();
        result
    }

    /// The two ends of a new connection.
    fn connect(&self) -> Result<(Socket, TcpStream)> {
        let peer = TcpStream::connect(self.listener.local_addr()?)?;
        let (socket, _) = self.listener.accept()?;
        for end in [&peer, &socket] {
            end.set_nonblocking(true)?;
            end.set_nodelay(true)?;
        }
        let _inside = self.runtime.enter();
        Ok((Socket::Tcp(tokio::net::TcpStream::from_std(socket)?), peer))
    }

    /// A connection that speaks HTTP; returns its other end.
    fn serve_http(&self) -> Result<TcpStream> {
        let (socket, peer) = self.connect()?;
        let context = core_http::Context {
            http2: true,
            http2_websocket: true,
            h2_received: push_core::net::h2_received::Received::new(usize::MAX),
            base: Arc::clone(&self.context.base),
            push: Arc::clone(&self.context),
            access_log: None,
            dispatch: Arc::clone(&self.inbox) as Arc<dyn Dispatch>,
            origins: Allowed::parse([])?,
            files: None,
            budget: core_http::budget::Budget::new(u64::MAX),
            trusted_proxies: Default::default(),
            proxy_protocol: false,
            poll_parameter: None,
        };
        let signal = self.context.base.lifecycle.receiver();
        let from = Peer::Inet(peer.local_addr()?);
        let accepted = Accepted { socket, peer: from, listener: ListenerId(0), handshake: None, guard: Box::new(()) };
        let _inside = self.runtime.enter();
        connection::begin(accepted, Arc::new(context), signal);
        Ok(peer)
    }

    /// `count` clients whose event `Open` has been run.
    fn open(&mut self, protocol: Protocol, count: usize) -> Result<Room> {
        let mut room = Room { clients: Vec::new(), peers: Vec::new() };
        for _ in 0..count {
            let (socket, peer) = self.connect()?;
            let interest = EventInterest { message: true, drained: false, gap: false };
            let client = Client::new(Arc::clone(&self.context), negotiated(protocol), Peer::Unix, interest);
            let head = Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
            let _inside = self.runtime.enter();
            Stream::new(Arc::clone(&client), socket, head, Bytes::new(), None, Box::new(())).spawn();
            room.clients.push(client);
            room.peers.push(peer);
        }
        for _ in 0..count {
            let inbox = Arc::clone(&self.inbox);
            let turn = Turn::begin(self.drive_until(|| Ok(inbox.take_client()))?);
            while turn.next_event().is_some() {}
        }
        Ok(room)
    }
}

fn negotiated(protocol: Protocol) -> Negotiated {
    let shape = if protocol == Protocol::WebSocket { Shape::Raw } else { Shape::EventStream };
    Negotiated { protocol, encoding: shape.into(), deflate: None, since: Since::Now, polls: false }
}
