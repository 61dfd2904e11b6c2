//! The core over real sockets: who drives the reactor, and where connections come from.
//!
//! | module | subject |
//! |---|---|
//! | [`puppet`] | a reactor in which a test can run code on the driver's thread |
//! | [`driving`] | tests with it: who drives, who gets which job, how it ends |
//! | [`serving`] | a server over loopback or Unix sockets, whose app is in Rust |
//! | [`liveness`] | tests with it: what goes on while workers are busy |
//! | [`slow_disk`] | tests with it: what goes on while the disk hangs |
//! | [`unix_sockets`] | tests with it: connections over Unix sockets |
//! | [`listeners`] | tests with it: listeners come and go while the server serves |
//!
//! What must happen has a deadline, and nothing else is timed.

#![allow(clippy::unwrap_used, clippy::panic)]

mod driving;
mod listeners;
mod liveness;
mod puppet;
mod serving;
mod slow_disk;
mod unix_sockets;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// For what should happen at once. Generous: a miss fails the test anyway.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Does what could block for ever.
fn within<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(action()));
    result.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it does not return: {what}"))
}
