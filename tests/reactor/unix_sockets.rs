//! Connections over Unix sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use push_core::Limits;
use push_core::net::Peer;
use tempfile::TempDir;

use crate::test_server::TestServer;
use crate::{DEADLINE, eventually};

/// More than the kernel keeps for the two ends of a Unix socket.
const LARGE: usize = 8 << 20;

fn server(limits: Limits) -> (TestServer, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (TestServer::on_unix_socket(2, limits, folder.path().join("socket")), folder)
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let (server, _folder) = server(Limits::default());
    let mut peer = server.peer();
    for path in ["/a", "/b", "/c"] {
        peer.ask(path);
        peer.expect_answer(path);
    }
    server.finish();
}

#[test]
fn a_websocket_echoes_and_its_client_is_local() {
    let (server, _folder) = server(Limits::default());
    let (mut peer, client) = server.websocket();
    for text in [b"one", b"two"] {
        peer.frame(0x81, text);
        peer.expect_frame(0x81, text);
    }
    assert_eq!(client.peer(), Peer::Unix);
    assert_eq!(client.peer().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    server.finish();
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let (server, _folder) = server(Limits::default());
    let mut peer = server.peer();
    peer.ask("/hold");
    server.held.recv_timeout(DEADLINE).unwrap();
    peer.half_close();
    server.release(1);
    peer.expect_answer("/hold");
    assert!(peer.is_cut());
    server.finish();
}

#[test]
fn a_websocket_that_half_closes_gets_what_is_written_and_then_the_end() {
    let (server, _folder) = server(Limits::default());
    let (mut peer, client) = server.websocket();
    peer.frame(0x81, b"last");
    peer.half_close();
    peer.expect_frame(0x81, b"last");
    assert!(peer.is_cut());
    assert_eq!(server.closed.recv_timeout(DEADLINE).unwrap(), client.id());
    assert_eq!(client.close_status().unwrap().code, 1006);
    server.finish();
}

#[test]
fn a_large_message_waits_for_a_slow_reader() {
    let (server, _folder) = server(Limits::default());
    let (mut peer, client) = server.websocket();
    assert!(client.write_message(true, &vec![b'a'; LARGE]));
    // Fragments, each with a header of its own: the first says that another follows.
    peer.expect(&[0x01]);
    assert_eq!(client.pending(), Some(1));
    peer.frame(0x81, b"behind");
    peer.skip(LARGE);
    peer.expect_frame(0x81, b"behind");
    eventually("the message is taken", || client.pending() == Some(0));
    server.finish();
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let limits = Limits { slow_timeout: Duration::from_millis(50), ..Limits::default() };
    let (server, _folder) = server(limits);
    let (mut peer, client) = server.websocket();
    assert!(client.write_message(true, &vec![b'a'; LARGE]));
    assert_eq!(server.closed.recv_timeout(DEADLINE).unwrap(), client.id());
    assert_eq!(client.close_status().unwrap().code, 1013);
    assert!(peer.is_cut());
    server.finish();
}

#[test]
fn a_client_that_goes_without_reading_is_closed() {
    let (server, _folder) = server(Limits::default());
    let (peer, client) = server.websocket();
    assert!(client.write_message(true, &vec![b'a'; LARGE]));
    drop(peer);
    assert_eq!(server.closed.recv_timeout(DEADLINE).unwrap(), client.id());
    assert_eq!(client.close_status().unwrap().code, 1006);
    server.finish();
}
