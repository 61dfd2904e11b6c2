//! Knowing that this process is a fork of the one that serves.
//!
//! A forked child inherits the parent's sockets and its epoll instance, but not the reactor
//! thread. Closing, shutting down or deregistering anything there would silence the parent's
//! connections, so the child must keep its hands off: what was made before the fork asks its
//! [`OwnerProcess`] before it touches anything native.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static WATCH: Once = Once::new();

extern "C" fn in_child() {
    // All that is allowed between fork and exec: a single atomic operation.
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The process something was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerProcess(u32);

impl OwnerProcess {
    /// The process running now; forks are noticed from here on.
    pub fn current() -> Self {
        WATCH.call_once(|| {
            // SAFETY: `in_child` only touches an atomic, which is async-signal-safe.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        OwnerProcess(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this process was forked off since. Costs one atomic load.
    pub fn forked(self) -> bool {
        self.0 != GENERATION.load(Ordering::Relaxed)
    }
}
