//! The core over real sockets: which thread drives the reactor, and where connections come from.
//!
//! | module | subject |
//! |---|---|
//! | [`harness`] | a reactor without a server, in which a test can run code on the driver's thread |
//! | [`driving`] | tests with it: which thread drives, which app thread gets a job, how it ends |
//! | [`test_server`] | a server over loopback or Unix sockets, whose app is in Rust |
//! | [`liveness`] | tests with it: what is served while app threads are busy |
//! | [`slow_disk`] | tests with it: what is served while the disk hangs |
//! | [`unix_sockets`] | tests with it: connections over Unix sockets |
//! | [`late_engine`] | an engine that numbers messages when a test says so |
//! | [`ahead`] | tests with both: clients whose cursor lies ahead of their process |
//! | [`unnumbered`] | tests with both: responses wait for what their requests have published |
//! | [`draining`] | tests with it: what a drain does with connections that are kept alive |
//! | [`listeners`] | tests with it: listeners that are added and retired while the server serves |
//!
//! What must happen has a deadline. No test asserts how long something takes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod ahead;
mod draining;
mod driving;
mod harness;
mod late_engine;
mod listeners;
mod liveness;
mod slow_disk;
mod test_server;
mod unix_sockets;
mod unnumbered;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < give_up_at, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `action`, which could block for ever, on a thread of its own.
fn within<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(action()));
    result.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("it does not return: {what}"))
}
