//! What goes on while workers are busy, and how it ends for who is connected.

use std::thread;
use std::time::Duration;

use push_core::Limits;

use crate::PATIENCE;
use crate::serving::Serving;

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

fn lively() -> Limits {
    let interval = Some(Duration::from_millis(50));
    Limits { sse_heartbeat: interval, ping_interval: interval, ..Limits::default() }
}

/// Blocks all workers for as long as a test likes, and looks at everything that needs none.
fn streams_live_while_all_are_busy(workers: usize) {
    let serving = Serving::new(workers, lively());
    let (mut stream, stream_client) = serving.event_stream();
    let (mut socket, client) = serving.websocket();
    let mut requests: Vec<_> = (0..workers).map(|_| serving.peer()).collect();
    for request in &mut requests {
        request.ask("/hold");
        // Each is taken by another worker.
        serving.held.recv_timeout(PATIENCE).unwrap();
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
    let mut refused = serving.peer();
    refused.send(b"GET / HTTP/9.9\r\n\r\n");
    refused.expect(b"HTTP/1.1 505 ");
    // Needs a worker: it waits.
    socket.frame(TEXT, b"echo");
    serving.release(workers);
    requests.iter_mut().for_each(|request| request.expect_answer("/hold"));
    socket.expect_frame(TEXT, b"echo");
    assert!(serving.server.stats().stand_ins.get() > 0);
    serving.finish();
}

#[test]
fn streams_live_while_the_only_worker_is_busy() {
    streams_live_while_all_are_busy(1);
}

#[test]
fn streams_live_while_five_workers_are_busy() {
    streams_live_while_all_are_busy(5);
}

#[test]
fn requests_and_messages_pass_by_who_is_busy() {
    let serving = Serving::new(2, Limits::default());
    let (mut held, _) = serving.websocket();
    held.frame(TEXT, b"hold");
    serving.held.recv_timeout(PATIENCE).unwrap();
    // Behind the held one, of the same client: in its turn.
    held.frame(TEXT, b"later");
    let (mut socket, _) = serving.websocket();
    let mut request = serving.peer();
    for round in 0..50 {
        let path = format!("/{round}");
        request.ask(&path);
        request.expect_answer(&path);
        socket.frame(TEXT, path.as_bytes());
        socket.expect_frame(TEXT, path.as_bytes());
    }
    serving.release(1);
    held.expect_frame(TEXT, b"later");
    serving.finish();
}

/// With more workers than there is to do they take the scheduler, the jobs, and the places to wait from each other in every
/// order. A wake-up that is lost leaves a request without its answer.
#[test]
fn no_wake_up_is_lost_among_many_workers() {
    for workers in [1, 2, 5] {
        let serving = Serving::new(workers, Limits::default());
        thread::scope(|scope| {
            for talker in 0..8 {
                let serving = &serving;
                scope.spawn(move || {
                    let (mut request, (mut socket, _)) = (serving.peer(), serving.websocket());
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
        serving.finish();
    }
}

#[test]
fn a_stop_cuts_all_and_hands_out_the_last_callbacks() {
    for workers in [1, 3] {
        let serving = Serving::new(workers, Limits::default());
        let mut streams: Vec<_> = (0..3).map(|_| serving.websocket()).collect();
        streams.push(serving.event_stream());
        let mut held: Vec<_> = (0..workers).map(|_| serving.peer()).collect();
        for peer in &mut held {
            peer.ask("/hold");
            serving.held.recv_timeout(PATIENCE).unwrap();
        }
        let mut waiting = serving.peer();
        waiting.ask("/never");
        serving.stop();
        for peer in [&mut waiting].into_iter().chain(&mut held).chain(streams.iter_mut().map(|(peer, _)| peer)) {
            assert!(peer.is_cut());
        }
        // The app has not heard of it: its workers are busy.
        assert!(serving.closed.is_empty());
        serving.release(workers);
        let mut closed: Vec<_> = streams.iter().map(|_| serving.closed.recv_timeout(PATIENCE).unwrap()).collect();
        closed.sort_unstable();
        assert_eq!(closed, streams.iter().map(|(_, client)| client.id()).collect::<Vec<_>>());
        serving.finish();
    }
}
