//! What goes on while the disk hangs, or there is no thread for it. A disk hangs here because the disk thread does
//! something that takes as long as a test likes; `spec/http/slow_disk_spec.rb` has a file system that is frozen.

use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use push_core::Limits;

use crate::serving::{Peer, Serving, digest};
use crate::{PATIENCE, eventually, within};

const LONG: usize = 8 * 1024 * 1024;

/// The disk hangs until what is returned is dropped.
fn hang(serving: &Serving) -> Sender<()> {
    let (release, released) = bounded::<()>(0);
    let (begin, begun) = bounded(1);
    let work = move || {
        begin.send(()).unwrap();
        let _ = released.recv();
    };
    serving.server.disk().chore(work).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    release
}

fn content() -> Vec<u8> {
    (0..LONG as u64).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 7) as u8).collect()
}

fn post(length: usize) -> Vec<u8> {
    format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

/// Sends a request with a body, as far as the server takes it.
fn upload(serving: &Serving) -> Peer {
    let before = serving.server.stats().bytes_in.get();
    let peer = serving.peer();
    peer.send_aside([post(LONG), content()].concat());
    eventually("a part of the upload", || serving.server.stats().bytes_in.get() > before + 128 * 1024);
    peer
}

/// Lets that many heartbeats of a stream pass.
fn ticks(serving: &Serving, count: usize) {
    let (mut stream, _) = serving.event_stream();
    for _ in 0..count {
        stream.expect(b":\n");
    }
}

fn limits() -> Limits {
    let heartbeat = Some(Duration::from_millis(50));
    Limits { sse_heartbeat: heartbeat, body_timeout: Duration::from_millis(200), ..Limits::default() }
}

#[test]
fn others_are_served_and_an_upload_waits() {
    let serving = Serving::new(1, limits());
    let disk = hang(&serving);
    let mut upload = upload(&serving);
    let mut other = serving.peer();
    for _ in 0..20 {
        other.ask("/other");
        other.expect_answer("/other");
    }
    // Longer than body_timeout.
    ticks(&serving, 12);
    let taken = serving.server.stats().bytes_in.get();
    assert!(taken < 1024 * 1024, "{taken} bytes were read although nothing could be written");
    drop(disk);
    upload.expect(format!("\r\n\r\n{}", digest(&content())).as_bytes());
    // The client has its time again: then it is its own fault.
    upload.send(&post(LONG));
    upload.expect(b"HTTP/1.1 408 ");
    serving.finish();
}

#[test]
fn a_client_that_has_gone_leaves_nothing_behind() {
    let serving = Serving::new(1, limits());
    let disk = hang(&serving);
    let clients: Vec<_> = (0..5).map(|_| upload(&serving)).collect();
    assert!(serving.server.stats().spooled_bytes.get() > 0);
    drop(clients);
    drop(disk);
    eventually("the files to be closed", || serving.server.stats().spooled_bytes.get() == 0);
    serving.finish();
}

#[test]
fn the_server_stops_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let serving = Serving::with_files(1, limits(), Some(folder.path().to_owned()));
    let disk = hang(&serving);
    let mut upload = upload(&serving);
    let mut file = serving.peer();
    file.ask("/file");
    serving.stop();
    assert!(upload.is_cut() && file.is_cut());
    drop(disk);
    serving.finish();
}

#[test]
fn files_and_uploads_share_the_thread() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), content()).unwrap();
    let serving = Serving::with_files(1, limits(), Some(folder.path().to_owned()));
    let disk = hang(&serving);
    let mut uploads: Vec<_> = (0..3).map(|_| upload(&serving)).collect();
    let mut file = serving.peer();
    file.ask("/file");
    drop(disk);
    file.expect(format!("content-length: {LONG}\r\n").as_bytes());
    for upload in &mut uploads {
        upload.expect(format!("\r\n\r\n{}", digest(&content())).as_bytes());
    }
    serving.finish();
}

#[test]
fn without_a_thread_only_what_needs_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "content").unwrap();
    let serving = Serving::with_files(1, limits(), Some(folder.path().to_owned()));
    // Nothing is known of the name yet, or it would be the app's.
    serving.server.disk().stop();
    let mut peer = serving.peer();
    peer.ask("/file");
    peer.expect(b"HTTP/1.1 503 Service Unavailable\r\n");
    peer.expect(b"Service Unavailable\n");
    // On the same connection.
    peer.send(&[&post(3)[..], b"abc"].concat());
    peer.expect(format!("\r\n\r\n{}", digest(b"abc")).as_bytes());
    let mut long = serving.peer();
    long.send_aside([post(LONG), content()].concat());
    long.expect(b"HTTP/1.1 503 Service Unavailable\r\n");
    long.expect(b"retry-after: 1\r\n");
    assert_eq!(serving.server.stats().disk_unavailable.get(), 2);
    within("the end", move || serving.finish());
}
