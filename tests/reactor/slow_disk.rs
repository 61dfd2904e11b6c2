//! What is served while the disk hangs, or while there is no disk thread. Here the disk hangs because a test keeps the disk
//! thread busy. In `spec/http/slow_disk_spec.rb` a file system is frozen.

use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use push_core::Limits;

use crate::test_server::{Peer, TestServer, digest};
use crate::{DEADLINE, eventually, within};

const LONG: usize = 8 * 1024 * 1024;

/// The disk hangs until what is returned is dropped.
fn hang(server: &TestServer) -> Sender<()> {
    let (release, released) = bounded::<()>(0);
    let (begin, begun) = bounded(1);
    let work = move || {
        begin.send(()).unwrap();
        let _ = released.recv();
    };
    server.core.disk().chore(work).unwrap();
    begun.recv_timeout(DEADLINE).unwrap();
    release
}

fn content() -> Vec<u8> {
    (0..LONG as u64).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 7) as u8).collect()
}

fn post(length: usize) -> Vec<u8> {
    format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

/// Sends a request with a body, of which the server reads a part.
fn upload(server: &TestServer) -> Peer {
    let before = server.core.stats().bytes_in.get();
    let peer = server.peer();
    peer.send_aside([post(LONG), content()].concat());
    eventually("a part of the upload", || server.core.stats().bytes_in.get() > before + 128 * 1024);
    peer
}

/// Lets that many heartbeats of a stream pass.
fn ticks(server: &TestServer, count: usize) {
    let (mut stream, _) = server.event_stream();
    for _ in 0..count {
        stream.expect(b":\n");
    }
}

/// A body that does not go on is refused soon.
fn short_body_timeout() -> Limits {
    let heartbeat = Some(Duration::from_millis(50));
    Limits { sse_heartbeat: heartbeat, body_timeout: Duration::from_millis(200), ..Limits::default() }
}

#[test]
fn while_the_disk_hangs_other_requests_are_served_and_an_upload_waits() {
    let server = TestServer::new(1, short_body_timeout());
    let disk = hang(&server);
    let mut upload = upload(&server);
    let mut other = server.peer();
    for _ in 0..20 {
        other.ask("/other");
        other.expect_answer("/other");
    }
    // Longer than body_timeout.
    ticks(&server, 12);
    let taken = server.core.stats().bytes_in.get();
    assert!(taken < 1024 * 1024, "{taken} bytes were read although nothing could be written");
    drop(disk);
    upload.expect(format!("\r\n\r\n{}", digest(&content())).as_bytes());
    // The body's deadline counts again: this time the client is late.
    upload.send(&post(LONG));
    upload.expect(b"HTTP/1.1 408 ");
    server.finish();
}

#[test]
fn the_files_of_uploads_whose_clients_have_gone_are_closed() {
    let server = TestServer::new(1, Limits::default());
    let disk = hang(&server);
    let clients: Vec<_> = (0..5).map(|_| upload(&server)).collect();
    assert!(server.core.stats().spooled_bytes.get() > 0);
    drop(clients);
    drop(disk);
    eventually("the files to be closed", || server.core.stats().spooled_bytes.get() == 0);
    server.finish();
}

#[test]
fn the_server_stops_while_the_disk_hangs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let server = TestServer::with_files(1, Limits::default(), Some(folder.path().to_owned()));
    let disk = hang(&server);
    let mut upload = upload(&server);
    let mut file = server.peer();
    file.ask("/file");
    server.stop();
    assert!(upload.is_cut() && file.is_cut());
    drop(disk);
    server.finish();
}

#[test]
fn files_and_uploads_share_the_disk_thread() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), content()).unwrap();
    let server = TestServer::with_files(1, Limits::default(), Some(folder.path().to_owned()));
    let disk = hang(&server);
    let mut uploads: Vec<_> = (0..3).map(|_| upload(&server)).collect();
    let mut file = server.peer();
    file.ask("/file");
    drop(disk);
    file.expect(format!("content-length: {LONG}\r\n").as_bytes());
    for upload in &mut uploads {
        upload.expect(format!("\r\n\r\n{}", digest(&content())).as_bytes());
    }
    server.finish();
}

#[test]
fn without_a_disk_thread_only_files_and_long_uploads_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let server = TestServer::with_files(1, Limits::default(), Some(folder.path().to_owned()));
    // The file was not asked for before, so the server must look for it.
    server.core.disk().stop();
    let mut peer = server.peer();
    peer.ask("/file");
    peer.expect(b"HTTP/1.1 503 Service Unavailable\r\n");
    peer.expect(b"Service Unavailable\n");
    // On the same connection.
    peer.send(&[&post(3)[..], b"abc"].concat());
    peer.expect(format!("\r\n\r\n{}", digest(b"abc")).as_bytes());
    let mut long = server.peer();
    long.send_aside([post(LONG), content()].concat());
    long.expect(b"HTTP/1.1 503 Service Unavailable\r\n");
    long.expect(b"retry-after: 1\r\n");
    assert_eq!(server.core.stats().disk_unavailable.get(), 2);
    within("the end", move || server.finish());
}
