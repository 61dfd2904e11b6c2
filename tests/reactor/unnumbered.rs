//! A client gets nothing of a response before the messages that its request has published have their numbers.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use push_core::Limits;

use crate::eventually;
use crate::late_engine::LateEngine;
use crate::test_server::{Peer, TestServer};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(600);

fn server(publish_timeout: Duration) -> (TestServer, Arc<LateEngine>) {
    let limits = Limits { publish_timeout, ..Limits::default() };
    let mut engine = None;
    let server = TestServer::with_engine(1, limits, |wake| {
        let made = LateEngine::new(wake);
        engine = Some(Arc::clone(&made));
        made
    });
    (server, engine.unwrap())
}

/// Sends a request whose app publishes.
fn published(server: &TestServer, engine: &LateEngine, request: &[u8]) -> Peer {
    let before = engine.queued();
    let mut peer = server.peer();
    peer.send(request);
    eventually("the request has published", || engine.queued() > before);
    peer
}

/// Expects that nothing has come. By then the only app thread has served another request, so it has replied to the first.
fn expect_held(server: &TestServer, peer: &mut Peer) {
    let mut other = server.peer();
    other.ask("/other");
    other.expect_answer("/other");
    assert_eq!(peer.try_read(), Err(ErrorKind::WouldBlock));
}

fn is_idle(server: &TestServer) -> bool {
    server.core.stats().all().into_iter().any(|(name, count)| name == "open_connections" && count == 0)
}

/// The requests that publish, each with the first bytes of its answer.
const REQUESTS: [(&[u8], &[u8]); 4] = [
    (b"GET /publish HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n\r\n/publish"),
    (b"GET /publish HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
    (
        b"GET /publish HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
          sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"HTTP/1.1 101 ",
    ),
    (
        b"GET /publish?push_wait=0 HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ),
];

#[test]
fn a_response_waits_for_what_its_request_has_published() {
    for (request, answer) in REQUESTS {
        let (server, engine) = server(NEVER);
        let mut peer = published(&server, &engine, request);
        expect_held(&server, &mut peer);
        engine.number(1);
        peer.expect(answer);
        server.finish();
    }
}

#[test]
fn a_response_waits_no_longer_than_publish_timeout() {
    for (request, answer) in REQUESTS {
        let (server, engine) = server(Duration::from_millis(50));
        published(&server, &engine, request).expect(answer);
        assert_eq!(engine.queued(), 1);
        server.finish();
    }
}

#[test]
fn a_streamed_body_waits_where_its_app_has_published_while_it_was_made() {
    let (server, engine) = server(NEVER);
    let mut peer = published(&server, &engine, b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n");
    peer.expect(b"\r\n6\r\nbefore\r\n");
    eventually("the body is made", || engine.queued() == 2);
    expect_held(&server, &mut peer);
    engine.number(1);
    peer.expect(b"5\r\nafter\r\n");
    // The app has published once more before the end.
    assert_eq!(engine.queued(), 1);
    expect_held(&server, &mut peer);
    engine.number(1);
    peer.expect(b"0\r\n\r\n");
    server.finish();
}

#[test]
fn many_responses_are_released_in_the_order_of_their_messages() {
    let (server, engine) = server(NEVER);
    let mut peers: Vec<Peer> = (0..10).map(|_| published(&server, &engine, REQUESTS[0].0)).collect();
    peers.iter_mut().for_each(|peer| expect_held(&server, peer));
    engine.number(4);
    peers[..4].iter_mut().for_each(|peer| peer.expect_answer("/publish"));
    peers[4..].iter_mut().for_each(|peer| expect_held(&server, peer));
    // A connection on which the answer has come goes on as usual.
    peers[0].ask("/again");
    peers[0].expect_answer("/again");
    engine.number(6);
    peers[4..].iter_mut().for_each(|peer| peer.expect_answer("/publish"));
    server.finish();
}

#[test]
fn a_client_may_leave_while_its_response_is_held() {
    let (server, engine) = server(NEVER);
    for (request, _) in REQUESTS {
        let mut peer = published(&server, &engine, request);
        expect_held(&server, &mut peer);
    }
    engine.number(REQUESTS.len());
    eventually("the connections are gone", || is_idle(&server));
    server.finish();
}

#[test]
fn a_stop_does_not_wait_for_what_is_held() {
    let (server, engine) = server(NEVER);
    let mut peer = published(&server, &engine, REQUESTS[0].0);
    expect_held(&server, &mut peer);
    server.finish();
    assert!(peer.is_cut());
}
