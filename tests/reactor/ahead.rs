//! A client whose cursor lies ahead of its process waits until the process has caught up. Only what is ahead of the hub is a
//! gap.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use push_core::Limits;
use push_core::channel::{Cursor, Engine, Epoch, Policy, Subscription, Target};

use crate::late_engine::LateEngine;
use crate::test_server::{Peer, TestServer};
use crate::{DEADLINE, eventually};

/// How clients send their cursors.
const REQUESTS: [&str; 4] = [
    "GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\nlast-event-id: CURSOR\r\n\r\n",
    "GET /?last_event_id=CURSOR HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\nlast-event-id: CURSOR\r\ncontent-length: 1\r\n\r\nx",
    "GET /?push_wait=10 HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\
     last-event-id: CURSOR.0123456789abcdef0123456789abcdef.1\r\n\r\n",
];

struct World {
    server: TestServer,
    engine: Arc<LateEngine>,
}

impl World {
    /// Two messages have arrived.
    fn new() -> Self {
        let mut engine = None;
        let server = TestServer::with_engine(1, Limits::default(), |wake| {
            let made = LateEngine::new(wake);
            engine = Some(Arc::clone(&made));
            made
        });
        let engine = engine.unwrap();
        server.channels.define("news", Policy { history: 10, ..Policy::default() }, Instant::now());
        engine.receive(2);
        World { server, engine }
    }

    fn cursor(&self, seq: u64) -> Cursor {
        Cursor { seq, ..self.engine.position() }
    }

    fn connect(&self, request: &str, cursor: Cursor) -> Peer {
        let mut peer = self.server.peer();
        peer.send(request.replace("CURSOR", &cursor.to_string()).as_bytes());
        peer
    }

    /// The client asks for what it must wait for.
    fn wait_for_question(&self) {
        eventually("the engine is asked", || self.engine.questions() > 0);
    }

    /// The app was not asked. By now the only app thread has served another request.
    fn expect_held(&self, peer: &mut Peer) {
        let mut other = self.server.peer();
        other.ask("/other");
        other.expect_answer("/other");
        assert!(self.server.opened.try_recv().is_err());
        assert_eq!(peer.try_read(), Err(ErrorKind::WouldBlock));
    }

    /// Whether the next client that is accepted gets all that it has missed of a channel.
    fn recovers(&self) -> bool {
        let client = self.server.opened.recv_timeout(DEADLINE).unwrap();
        let target = Target::Channel("news");
        client.subscribe(Subscription { target, since: None, member: None, frames: None }).unwrap();
        client.begin_replay();
        client.recovered().unwrap()
    }
}

#[test]
fn the_app_is_asked_when_the_process_has_caught_up() {
    for request in REQUESTS {
        let world = World::new();
        let mut peer = world.connect(request, world.cursor(4));
        world.wait_for_question();
        world.expect_held(&mut peer);
        world.engine.answer(world.cursor(5));
        world.expect_held(&mut peer);
        world.engine.receive(1);
        world.expect_held(&mut peer);
        world.engine.receive(1);
        assert!(world.recovers());
        world.server.finish();
    }
}

#[test]
fn a_process_that_catches_up_before_the_answer_need_not_wait_for_it() {
    let world = World::new();
    let _peer = world.connect(REQUESTS[0], world.cursor(3));
    world.wait_for_question();
    world.engine.receive(1);
    assert!(world.recovers());
    world.server.finish();
}

#[test]
fn what_is_ahead_of_the_hub_or_of_another_epoch_is_a_gap_at_once() {
    for request in REQUESTS {
        let world = World::new();
        for cursor in [world.cursor(4), Cursor { epoch: Epoch::new(), seq: 1 }] {
            let _peer = world.connect(request, cursor);
            world.wait_for_question();
            world.engine.answer(world.cursor(3));
            assert!(!world.recovers());
        }
        world.server.finish();
    }
}

#[test]
fn a_client_of_the_next_epoch_waits_until_that_has_begun_here() {
    let world = World::new();
    let next = Cursor { epoch: Epoch::new(), seq: 7 };
    let mut peer = world.connect(REQUESTS[0], next);
    world.wait_for_question();
    world.engine.answer(next);
    world.expect_held(&mut peer);
    world.engine.begin_anew(next);
    assert!(world.recovers());
    world.server.finish();
}

#[test]
fn without_an_answer_it_is_a_gap_after_a_while() {
    let world = World::new();
    let _peer = world.connect(REQUESTS[0], world.cursor(3));
    assert!(!world.recovers());
    assert_eq!(world.engine.questions(), 1);
    world.server.finish();
}

#[test]
fn cursors_that_the_process_has_reached_cost_no_question() {
    let world = World::new();
    for request in REQUESTS {
        let _peer = world.connect(request, world.cursor(2));
        assert!(world.recovers());
    }
    assert_eq!(world.engine.questions(), 0);
    world.server.finish();
}

#[test]
fn a_client_may_leave_while_it_waits_and_a_stop_does_not_wait_for_it() {
    for request in REQUESTS {
        let world = World::new();
        let peers = [world.connect(request, world.cursor(4)), world.connect(request, world.cursor(4))];
        eventually("both wait", || world.engine.questions() == 2);
        let [first, mut second] = peers;
        drop(first);
        world.server.finish();
        assert!(second.is_cut());
    }
}
