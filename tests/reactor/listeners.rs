//! Listeners come and go while the server serves.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::never;
use push_core::net::{ListenError, ListenerId};
use push_core::{Limits, Server};

use crate::test_server::{Address, TestServer, new_server};
use crate::{DEADLINE, eventually, within};

fn retire(server: &Arc<Server>, listener: ListenerId) -> bool {
    let server = Arc::clone(server);
    within("retire", move || server.retire(listener))
}

/// The id of the listener that a new connection to `address` came through.
fn expect_listener(address: &Address, listener: ListenerId) {
    let mut peer = address.connect().unwrap();
    peer.ask("/listener");
    peer.expect_answer(&listener.0.to_string());
}

#[test]
fn a_listener_that_is_added_while_serving_is_accepted_from() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new(1, Limits::default());
    expect_listener(&server.address, server.listener);
    for (socket, address) in [Address::tcp(), Address::unix(folder.path().join("socket"))] {
        let listener = server.core.listen(socket).unwrap();
        assert_ne!(listener, server.listener);
        expect_listener(&address, listener);
    }
    server.finish();
}

#[test]
fn a_retired_listener_is_closed_and_its_connections_go_on() {
    let server = TestServer::new(1, Limits::default());
    let Address::Tcp(address) = server.address else { panic!("not TCP") };
    let mut open = server.peer();
    open.ask("/before");
    open.expect_answer("/before");
    let (mut websocket, _client) = server.websocket();

    assert!(retire(&server.core, server.listener));
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    open.ask("/after");
    open.expect_answer("/after");
    websocket.frame(0x81, b"after");
    websocket.expect_frame(0x81, b"after");

    assert!(!retire(&server.core, server.listener), "it was retired before");
    let again = server.core.listen(OwnedFd::from(TcpListener::bind(address).unwrap())).unwrap();
    assert_ne!(again, server.listener);
    expect_listener(&server.address, again);
    server.finish();
}

#[test]
fn a_listener_can_be_retired_before_the_start() {
    let server = new_server(Limits::default(), None);
    let (socket, address) = Address::tcp();
    let listener = server.listen(socket).unwrap();
    assert!(server.retire(listener));
    assert_eq!(address.connect().err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

/// Without the file no client can connect any more. All that have connected are served: while some do, others wait in
/// the backlog.
#[test]
fn no_connection_is_lost_when_a_listener_is_retired_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let server = TestServer::on_unix_socket(2, Limits::default(), path.clone());
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (address, answered) = (server.address.clone(), Arc::clone(&answered));
            thread::spawn(move || {
                loop {
                    match address.connect() {
                        Ok(mut peer) => {
                            peer.ask("/load");
                            peer.expect_answer("/load");
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => return error.kind(),
                    }
                }
            })
        })
        .collect();
    eventually("the load has begun", || answered.load(Ordering::Relaxed) > 100);
    fs::remove_file(path).unwrap();
    assert!(retire(&server.core, server.listener));
    for client in clients {
        assert_eq!(within("a client", move || client.join()).unwrap(), ErrorKind::NotFound);
    }
    server.finish();
}

#[test]
fn a_full_server_closes_a_retired_listener_at_once_and_serves_what_it_accepted() {
    let server = TestServer::new(1, Limits { max_connections: 1, ..Limits::default() });
    let Address::Tcp(address) = server.address else { panic!("not TCP") };
    let mut first = server.peer();
    first.ask("/first");
    first.expect_answer("/first");

    assert!(retire(&server.core, server.listener));
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    first.ask("/again");
    first.expect_answer("/again");
    server.finish();
}

#[test]
fn retiring_ends_when_the_server_stops() {
    let server = TestServer::new(1, Limits::default());
    let stopped = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..4)
        .map(|_| {
            let (server, stopped) = (Arc::clone(&server.core), Arc::clone(&stopped));
            thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let (socket, _address) = Address::tcp();
                    match server.listen(socket) {
                        Ok(listener) => drop(server.retire(listener)),
                        Err(error) => assert!(matches!(error, ListenError::Stopping | ListenError::System(_))),
                    }
                }
            })
        })
        .collect();
    server.stop();
    stopped.store(true, Ordering::Relaxed);
    for other in others {
        within("a thread that retires", move || other.join()).unwrap();
    }
    server.finish();
}

#[test]
fn a_draining_server_takes_no_listener() {
    let server = TestServer::new(1, Limits::default());
    server.core.drain(Instant::now() + DEADLINE, false, &never());
    assert!(matches!(server.core.listen(Address::tcp().0).unwrap_err(), ListenError::Stopping));
    server.finish();
}
