//! What a drain does with connections that are kept alive: no client loses a request that is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use push_core::Limits;
use push_core::base::in_flight::Drained;

use crate::test_server::{Peer, TestServer};
use crate::{DEADLINE, within};

fn server() -> TestServer {
    TestServer::new(2, Limits::default())
}

/// Begins to drain. The drain ends with the thread.
fn drain(server: &TestServer, restarts: bool) -> thread::JoinHandle<Drained> {
    let core = Arc::clone(&server.core);
    let drain = move || core.drain(Instant::now() + DEADLINE, restarts, &crossbeam_channel::never());
    let (listener, thread) = (server.listener, thread::spawn(drain));
    // When the drain has begun, there are no listeners, or soon none: this returns when it is closed.
    within("the listener is closed", {
        let core = Arc::clone(&server.core);
        move || core.retire(listener)
    });
    thread
}

fn finish(server: TestServer, drain: thread::JoinHandle<Drained>) {
    assert_eq!(within("the drain", || drain.join()).unwrap(), Drained::Finished);
    server.finish();
}

/// Asks, and returns whether the server says that the connection ends.
fn is_told_to_close(peer: &mut Peer) -> bool {
    peer.ask("/x");
    let head = peer.read_until(b"\r\n\r\n");
    peer.expect(b"/x");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    head.to_ascii_lowercase().contains("\r\nconnection: close\r\n")
}

#[test]
fn clients_that_send_request_after_request_are_told_and_none_is_cut_off() {
    for restarts in [false, true] {
        let server = server();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let (mut peer, stop) = (server.peer(), Arc::clone(&stop));
                assert!(!is_told_to_close(&mut peer));
                thread::spawn(move || {
                    while !is_told_to_close(&mut peer) {
                        assert!(!stop.load(Ordering::SeqCst), "it is never told");
                        thread::sleep(Duration::from_millis(fastrand::u64(..200)));
                    }
                    assert!(peer.is_ended_cleanly());
                })
            })
            .collect();
        let drain = drain(&server, restarts);
        for client in clients {
            within("a client", || client.join()).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        finish(server, drain);
    }
}

#[test]
fn connections_that_wait_in_the_backlog_are_served_before_a_stop() {
    for _ in 0..20 {
        let server = server();
        let mut peers: Vec<_> = (0..20).map(|_| server.peer()).collect();
        peers.iter_mut().for_each(|peer| peer.ask("/x"));
        let core = Arc::clone(&server.core);
        let drain = thread::spawn(move || core.drain(Instant::now() + DEADLINE, false, &crossbeam_channel::never()));
        peers.iter_mut().for_each(|peer| peer.expect_answer("/x"));
        drop(peers);
        finish(server, drain);
    }
}

#[test]
fn a_connection_that_is_idle_at_a_restart_gets_its_next_request_answered() {
    let server = server();
    // The first one sends nothing before. It is accepted when the second one is.
    let (mut silent, mut idle) = (server.peer(), server.peer());
    assert!(!is_told_to_close(&mut idle));
    let drain = drain(&server, true);
    // The listener may be closed a moment before the drain has begun.
    while !is_told_to_close(&mut idle) {}
    assert!(is_told_to_close(&mut silent));
    assert!(silent.is_ended_cleanly() && idle.is_ended_cleanly());
    finish(server, drain);
}

#[test]
fn a_quiet_client_sees_the_end_and_no_reset_even_if_it_sends_a_request_then() {
    for restarts in [false, true] {
        let server = server();
        let (mut quiet, mut late, silent) = (server.peer(), server.peer(), server.peer());
        assert!(!is_told_to_close(&mut quiet) && !is_told_to_close(&mut late));
        let drain = drain(&server, restarts);
        late.wait_until_readable();
        late.ask("/late");
        assert!(late.is_ended_cleanly());
        assert!(quiet.is_ended_cleanly());
        finish(server, drain);
        drop(silent);
    }
}

#[test]
fn a_short_drain_closes_idle_connections_in_time() {
    let server = server();
    let mut idle = server.peer();
    assert!(!is_told_to_close(&mut idle));
    let core = Arc::clone(&server.core);
    let drain = thread::spawn(move || {
        core.drain(Instant::now() + Duration::from_millis(700), true, &crossbeam_channel::never())
    });
    assert!(idle.is_ended_cleanly());
    drop(idle);
    finish(server, drain);
}
