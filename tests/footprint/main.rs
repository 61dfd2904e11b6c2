//! What an idle stream takes of the heap, without Ruby. A binary of its own, because it counts all allocations of the process.
//!
//! | module | subject |
//! |---|---|
//! | [`counting`] | an allocator that counts the bytes in use |
//! | [`test_server`] | the server: see `tests/reactor` |

#![allow(clippy::unwrap_used, clippy::panic)]

mod counting;
#[allow(dead_code, reason = "the tests in reactor/ need more of it")]
#[path = "../reactor/test_server.rs"]
mod test_server;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use push_core::Limits;
use push_core::push::Client;
use test_server::{Peer, TestServer};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// How many are opened before the heap is measured, and then.
const SOME: usize = 10;
const COUNT: usize = 100;

/// Runs `action`, which could block for ever, on a thread of its own.
fn within<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(action()));
    result.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("it does not return: {what}"))
}

/// A connection that speaks HTTP/2, by prior knowledge.
struct Http2 {
    peer: Peer,
    next: u32,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field of a header block as RFC 7541 section 6.2.2 has it, without Huffman coding.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

impl Http2 {
    fn new(server: &TestServer) -> Self {
        let mut peer = server.peer();
        peer.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat());
        Http2 { peer, next: 1 }
    }

    /// Opens an event stream, as a browser does.
    fn event_stream(&mut self, server: &TestServer) -> Arc<Client> {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "www.example.com"),
            (":path", "/events?channel=prices"),
            ("accept", "text/event-stream"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0"),
            ("cookie", "session=BAh7B0kiD3Nlc3Npb25faWQG"),
            ("accept-language", "en-US,en;q=0.5"),
            ("cache-control", "no-cache"),
        ];
        let block = fields.map(|(name, value)| field(name, value)).concat();
        self.peer.send(&frame(1, 5, self.next, &block));
        self.next += 2;
        server.opened.recv_timeout(DEADLINE).unwrap()
    }
}

/// Bytes of the heap for each one that `open` opens, when there are some. The lesser of two figures, because a buffer of the
/// thread that drives the reactor may fall into one of them.
fn each<T>(mut open: impl FnMut() -> T) -> usize {
    let mut all = Vec::with_capacity(SOME + 2 * COUNT);
    all.extend((0..SOME).map(|_| open()));
    let mut measure = || {
        let before = counting::settled();
        all.extend((0..COUNT).map(|_| open()));
        (counting::settled() - before) / COUNT
    };
    measure().min(measure())
}

/// The bounds are what it was when it was last looked at. If one must grow, the memory per connection that README.md and
/// docs/performance.md promise grows, too.
#[test]
fn an_idle_stream_takes_no_more_of_the_heap() {
    let server = TestServer::new(1, Limits::default());
    let mut connections = Vec::new();
    let new_connection = || {
        let mut connection = Http2::new(&server);
        let client = connection.event_stream(&server);
        connections.push(connection);
        client
    };
    let mut shared = Http2::new(&server);
    let rows = [
        ("a WebSocket", each(|| server.websocket()), 1700),
        ("an event stream", each(|| server.event_stream()), 1600),
        ("an event stream over HTTP/2", each(|| shared.event_stream(&server)), 1500),
        ("a connection of HTTP/2 with one", each(new_connection), 39_500),
    ];
    let grown: Vec<_> = rows.iter().filter(|(_, bytes, bound)| bytes > bound).collect();
    assert!(grown.is_empty(), "bytes, and the bound: {grown:?}");
    server.finish();
}
