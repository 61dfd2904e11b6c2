//! A server over loopback or Unix sockets, whose app is in Rust.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use push_core::channel::{Channels, Draft, Engine, Wake};
use push_core::engine::Local;
use push_core::http::request::RequestBody;
use push_core::http::{Responder, Response, ResponseHeaders};
use push_core::net::ListenerId;
use push_core::push::{Client, Event, EventInterest, Message, PubSub, SlowPolicy, Turn};
use push_core::{Job, Limits, Next, Server, Settings};

use crate::{DEADLINE, within};

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// A socket that listens on a free port, and where that is.
    pub fn tcp() -> (OwnedFd, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        (listener.into(), address)
    }

    /// A socket that listens on `path`.
    pub fn unix(path: PathBuf) -> (OwnedFd, Self) {
        (UnixListener::bind(&path).unwrap().into(), Address::Unix(path))
    }

    pub fn connect(&self) -> std::io::Result<Peer> {
        let socket = match self {
            Address::Tcp(address) => TcpStream::connect(address)?,
            // std's TcpStream can read, write and shut down any stream socket.
            Address::Unix(path) => OwnedFd::from(UnixStream::connect(path)?).into(),
        };
        if let Address::Tcp(_) = self {
            socket.set_nodelay(true)?;
        }
        socket.set_read_timeout(Some(DEADLINE))?;
        Ok(Peer { socket, seen: Vec::new() })
    }
}

/// The server, its app threads, and what its app reports.
pub struct TestServer {
    /// The core of a server, without Ruby.
    pub core: Arc<Server>,
    /// The listener that the server has from its start.
    pub listener: ListenerId,
    pub address: Address,
    app_threads: Vec<JoinHandle<()>>,
    /// Gets a `()` for each job that begins to wait for [`TestServer::release`].
    pub held: Receiver<()>,
    release: Sender<()>,
    /// The channels of the process.
    pub channels: Arc<Channels>,
    /// Clients whose `on_open` has run.
    pub opened: Receiver<Arc<Client>>,
    /// The numbers of clients whose `on_close` has run.
    pub closed: Receiver<u64>,
}

/// The app. It answers with the path, or with the [`digest`] of the request's body if there is one, and echoes messages.
/// A request for `/hold` and the message "hold" keep their app thread busy until they are released.
/// A request for `/publish` publishes before it is answered or upgraded; one for `/stream`
/// publishes between the parts of its body.
/// A request for `/listener` gets the id of the listener that it came through.
#[derive(Clone)]
struct App {
    held: Sender<()>,
    released: Receiver<()>,
    opened: Sender<Arc<Client>>,
    closed: Sender<u64>,
    channels: Arc<Channels>,
}

impl App {
    fn hold(&self) {
        let _ = self.held.send(());
        let _ = self.released.recv_timeout(DEADLINE);
    }

    fn publish(&self) {
        self.channels.publish(&Draft::text("news", b"hello"), Instant::now()).unwrap();
    }

    fn stream(&self, responder: Responder) {
        let body = responder.stream(Response::new(200, ResponseHeaders::new()).unwrap());
        body.push(Bytes::from_static(b"before"));
        self.publish();
        body.push(Bytes::from_static(b"after"));
        self.publish();
        body.finish();
    }

    fn run(&self, job: Job) {
        match job {
            Job::Request(request, _guard) => {
                let head = &request.head;
                if head.path() == "/publish" {
                    self.publish();
                }
                if let Some(protocol) = request.upgrade {
                    let interest = EventInterest { message: true, drained: false, gap: false };
                    let peer = request.peer;
                    let none = ResponseHeaders::new();
                    request.responder.accept(protocol, peer, head, &none, interest, true).send();
                    return;
                }
                let path = head.path();
                if path == "/hold" {
                    self.hold();
                }
                if path == "/stream" {
                    return self.stream(request.responder);
                }
                let body = match request.body.is_empty() {
                    true if path == "/listener" => request.listener.0.to_string().into(),
                    true => Bytes::copy_from_slice(path.as_bytes()),
                    false => digest(&read(request.body)).into(),
                };
                request.responder.respond(Response::new(200, ResponseHeaders::new()).unwrap().with_bytes(body));
            }
            Job::Callbacks(client) => self.take_turn(&Turn::begin(client)),
        }
    }

    fn take_turn(&self, turn: &Turn) {
        let client = turn.client();
        while let Some(event) = turn.next_event() {
            match event {
                Event::Open => drop(self.opened.send(Arc::clone(client))),
                Event::Message(Message::Text(text)) if &text[..] == b"hold" => self.hold(),
                Event::Message(Message::Text(text)) => drop(client.write_message(true, &text)),
                Event::Close => {
                    client.retire();
                    let _ = self.closed.send(client.id());
                }
                _ => {}
            }
        }
    }
}

/// The length and a hash of a body.
pub fn digest(body: &[u8]) -> String {
    let hash = body
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{} {hash:x}", body.len())
}

fn read(body: RequestBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    match body {
        RequestBody::Memory(memory) => bytes.extend_from_slice(&memory),
        RequestBody::Spooled(spooled) => {
            let (mut file, _reservation) = spooled.into_parts().unwrap();
            file.read_to_end(&mut bytes).unwrap();
        }
    }
    bytes
}

impl TestServer {
    pub fn new(app_threads: usize, limits: Limits) -> Self {
        TestServer::with_files(app_threads, limits, None)
    }

    /// A server that listens on a Unix socket.
    pub fn on_unix_socket(app_threads: usize, limits: Limits, path: PathBuf) -> Self {
        TestServer::on(Address::unix(path), app_threads, limits, None)
    }

    /// A server that serves the files of a folder as well.
    pub fn with_files(app_threads: usize, limits: Limits, public_dir: Option<PathBuf>) -> Self {
        TestServer::on(Address::tcp(), app_threads, limits, public_dir)
    }

    /// A server with an engine of the test's.
    pub fn with_engine(
        app_threads: usize,
        limits: Limits,
        engine: impl FnOnce(Arc<dyn Wake>) -> Arc<dyn Engine>,
    ) -> Self {
        TestServer::serve(Address::tcp(), app_threads, limits, None, PubSub::new(engine))
    }

    fn on(place: (OwnedFd, Address), app_threads: usize, limits: Limits, public_dir: Option<PathBuf>) -> Self {
        TestServer::serve(place, app_threads, limits, public_dir, PubSub::new(Local::shared))
    }

    fn serve(
        (socket, address): (OwnedFd, Address),
        app_threads: usize,
        limits: Limits,
        public_dir: Option<PathBuf>,
        pubsub: PubSub,
    ) -> Self {
        let channels = Arc::clone(pubsub.channels());
        let core = Arc::new(server_with(limits, public_dir, pubsub));
        let listener = core.listen(socket).unwrap();
        core.start().unwrap();
        let ((held, holding), (release, released)) = (unbounded(), unbounded());
        let ((open, opened), (close, closed)) = (unbounded(), unbounded());
        let app = App { held, released, opened: open, closed: close, channels: Arc::clone(&channels) };
        let app_threads = (0..app_threads).map(|_| start_app_thread(Arc::clone(&core), app.clone())).collect();
        TestServer { core, listener, address, app_threads, held: holding, release, channels, opened, closed }
    }

    /// Releases `count` jobs that are held.
    pub fn release(&self, count: usize) {
        (0..count).for_each(|_| self.release.send(()).unwrap());
    }

    pub fn peer(&self) -> Peer {
        self.address.connect().unwrap()
    }

    /// An open WebSocket, and its client.
    pub fn websocket(&self) -> (Peer, Arc<Client>) {
        let mut peer = self.peer();
        peer.send(
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
              sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        peer.expect(b"\r\n\r\n");
        (peer, self.opened.recv_timeout(DEADLINE).unwrap())
    }

    /// An open event stream, and its client.
    pub fn event_stream(&self) -> (Peer, Arc<Client>) {
        let mut peer = self.peer();
        peer.send(b"GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n");
        peer.expect(b"\r\n\r\n");
        (peer, self.opened.recv_timeout(DEADLINE).unwrap())
    }

    pub fn stop(&self) {
        let core = Arc::clone(&self.core);
        within("stop", move || core.stop());
    }

    /// Stops, and waits for the app threads.
    pub fn finish(self) {
        self.stop();
        for app_thread in self.app_threads {
            within("an app thread", move || app_thread.join()).unwrap();
        }
    }
}

/// A server that does not run yet.
pub fn new_server(limits: Limits, public_dir: Option<PathBuf>) -> Server {
    server_with(limits, public_dir, PubSub::new(Local::shared))
}

fn server_with(limits: Limits, public_dir: Option<PathBuf>, pubsub: PubSub) -> Server {
    let settings = Settings {
        http2: true,
        http2_websocket: true,
        limits,
        slow_policy: SlowPolicy::Close,
        websocket_compression: false,
        allowed_origins: Vec::new(),
        public_dir,
        access_log: None,
        fan_out: true,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        default_event: None,
        poll_parameter: Some("push_wait".to_owned()),
    };
    Server::new(settings, pubsub).unwrap()
}

fn start_app_thread(core: Arc<Server>, app: App) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut app_thread = core.app_thread();
        loop {
            while let Some(job) = core.try_next(&mut app_thread) {
                app.run(job);
            }
            match core.next(&mut app_thread) {
                Next::Job(job) => app.run(job),
                Next::Interrupted => {}
                Next::Stopped => return,
            }
        }
    })
}

/// The other end of a connection.
pub struct Peer {
    socket: TcpStream,
    /// Bytes that were read, and that no call has expected yet.
    seen: Vec<u8>,
}

impl Peer {
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Reads up to the end of these bytes. What comes before them is dropped.
    pub fn expect(&mut self, bytes: &[u8]) {
        self.read_until(bytes);
    }

    /// Reads up to the end of these bytes, and returns all up to there.
    pub fn read_until(&mut self, bytes: &[u8]) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen.windows(bytes.len()).position(|window| window == bytes) {
                let read: Vec<u8> = self.seen.drain(..at + bytes.len()).collect();
                return String::from_utf8_lossy(&read).into_owned();
            }
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            match self.socket.read(&mut buffer) {
                Ok(length) if length > 0 => self.seen.extend_from_slice(&buffer[..length]),
                end => panic!("{end:?} instead of {:?}, after {seen:?}", String::from_utf8_lossy(bytes)),
            }
        }
    }

    /// How many bytes have come that no call has expected yet. Does not wait: if there are none, the error is `WouldBlock`.
    pub fn try_read(&mut self) -> Result<usize, ErrorKind> {
        if !self.seen.is_empty() {
            return Ok(self.seen.len());
        }
        let mut buffer = [0; 4096];
        self.socket.set_nonblocking(true).unwrap();
        let result = self.socket.read(&mut buffer);
        self.socket.set_nonblocking(false).unwrap();
        self.seen.extend_from_slice(&buffer[..*result.as_ref().unwrap_or(&0)]);
        result.map_err(|error| error.kind())
    }

    /// Whether the server has cut the connection. Reads to its end.
    pub fn is_cut(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.socket.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether nothing more comes but the end of the stream, without a reset.
    pub fn is_ended_cleanly(&mut self) -> bool {
        let mut rest = Vec::new();
        self.seen.is_empty() && self.socket.read_to_end(&mut rest).is_ok_and(|length| length == 0)
    }

    /// Waits until something has come, or the end, and leaves it unread.
    pub fn wait_until_readable(&self) {
        self.socket.peek(&mut [0]).unwrap();
    }

    /// Sends the end of the stream. The server can still send.
    pub fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads that many bytes.
    pub fn skip(&mut self, length: usize) {
        let from_seen = length.min(self.seen.len());
        self.seen.drain(..from_seen);
        let wanted = (length - from_seen) as u64;
        let read = std::io::copy(&mut (&self.socket).take(wanted), &mut std::io::sink()).unwrap();
        assert_eq!(read, wanted);
    }

    pub fn ask(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
    }

    /// Sends bytes that the server may not read for a while, on a thread of its own.
    pub fn send_aside(&self, bytes: Vec<u8>) -> JoinHandle<std::io::Result<()>> {
        let mut socket = self.socket.try_clone().unwrap();
        thread::spawn(move || socket.write_all(&bytes))
    }

    pub fn expect_answer(&mut self, path: &str) {
        self.expect(format!("\r\n\r\n{path}").as_bytes());
    }

    /// Sends a WebSocket frame, as a client does.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        // A mask of zeros leaves the payload as it is.
        self.send(&[&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat());
    }

    pub fn expect_frame(&mut self, first: u8, payload: &[u8]) {
        self.expect(&[&[first, payload.len() as u8], payload].concat());
    }
}
