//! What is served while app threads are busy, and what a stop means for clients that are connected.

use std::thread;
use std::time::Duration;

use push_core::Limits;

use crate::DEADLINE;
use crate::test_server::TestServer;

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

fn with_short_heartbeats() -> Limits {
    let interval = Some(Duration::from_millis(50));
    Limits { sse_heartbeat: interval, ping_interval: interval, ..Limits::default() }
}

/// Keeps all app threads busy, and checks everything that needs none.
fn streams_live_while_all_are_busy(app_threads: usize) {
    let server = TestServer::new(app_threads, with_short_heartbeats());
    let (mut stream, stream_client) = server.event_stream();
    let (mut socket, client) = server.websocket();
    let mut requests: Vec<_> = (0..app_threads).map(|_| server.peer()).collect();
    for request in &mut requests {
        request.ask("/hold");
        // Each request is with another app thread.
        server.held.recv_timeout(DEADLINE).unwrap();
    }
    for _ in 0..3 {
        stream.expect(b":\n");
        socket.expect_frame(PING, b"");
        socket.frame(PONG, b"");
    }
    socket.frame(PING, b"alive?");
    socket.expect_frame(PONG, b"alive?");
    assert!(client.write_message(true, b"from another thread"));
    socket.expect_frame(TEXT, b"from another thread");
    assert!(stream_client.write_event(Default::default(), b"as well"));
    stream.expect(b"data: as well\n\n");
    let mut refused = server.peer();
    refused.send(b"GET / HTTP/9.9\r\n\r\n");
    refused.expect(b"HTTP/1.1 505 ");
    // A message waits, since its callback needs an app thread.
    socket.frame(TEXT, b"echo");
    server.release(app_threads);
    requests.iter_mut().for_each(|request| request.expect_answer("/hold"));
    socket.expect_frame(TEXT, b"echo");
    assert!(server.core.stats().standby_turns.get() > 0);
    server.finish();
}

#[test]
fn streams_live_while_the_only_thread_is_busy() {
    streams_live_while_all_are_busy(1);
}

#[test]
fn streams_live_while_five_threads_are_busy() {
    streams_live_while_all_are_busy(5);
}

#[test]
fn requests_and_messages_go_to_the_thread_that_is_not_busy() {
    let server = TestServer::new(2, Limits::default());
    let (mut held, _) = server.websocket();
    held.frame(TEXT, b"hold");
    server.held.recv_timeout(DEADLINE).unwrap();
    // A message of the same client waits for the one that is held.
    held.frame(TEXT, b"later");
    let (mut socket, _) = server.websocket();
    let mut request = server.peer();
    for round in 0..50 {
        let path = format!("/{round}");
        request.ask(&path);
        request.expect_answer(&path);
        socket.frame(TEXT, path.as_bytes());
        socket.expect_frame(TEXT, path.as_bytes());
    }
    server.release(1);
    held.expect_frame(TEXT, b"later");
    server.finish();
}

/// With more app threads than jobs, the app threads compete for the runtime and for the jobs, and become idle, in every order.
/// If a wake-up is lost, a request gets no answer.
#[test]
fn no_wake_up_is_lost_among_many_threads() {
    for app_threads in [1, 2, 5] {
        let server = TestServer::new(app_threads, Limits::default());
        thread::scope(|scope| {
            for talker in 0..8 {
                let server = &server;
                scope.spawn(move || {
                    let (mut request, (mut socket, _)) = (server.peer(), server.websocket());
                    for round in 0..150 {
                        let path = format!("/{talker}/{round}");
                        socket.frame(TEXT, path.as_bytes());
                        if round % 3 > 0 {
                            request.ask(&path);
                            request.expect_answer(&path);
                        }
                        socket.expect_frame(TEXT, path.as_bytes());
                    }
                });
            }
        });
        server.finish();
    }
}

#[test]
fn a_stop_cuts_all_connections_and_hands_out_the_last_callbacks() {
    for app_threads in [1, 3] {
        let server = TestServer::new(app_threads, Limits::default());
        let mut streams: Vec<_> = (0..3).map(|_| server.websocket()).collect();
        streams.push(server.event_stream());
        let mut held: Vec<_> = (0..app_threads).map(|_| server.peer()).collect();
        for peer in &mut held {
            peer.ask("/hold");
            server.held.recv_timeout(DEADLINE).unwrap();
        }
        let mut waiting = server.peer();
        waiting.ask("/never");
        server.stop();
        for peer in [&mut waiting].into_iter().chain(&mut held).chain(streams.iter_mut().map(|(peer, _)| peer)) {
            assert!(peer.is_cut());
        }
        // No on_close has run, since all app threads are busy.
        assert!(server.closed.is_empty());
        server.release(app_threads);
        let mut closed: Vec<_> = streams.iter().map(|_| server.closed.recv_timeout(DEADLINE).unwrap()).collect();
        closed.sort_unstable();
        assert_eq!(closed, streams.iter().map(|(_, client)| client.id()).collect::<Vec<_>>());
        server.finish();
    }
}
