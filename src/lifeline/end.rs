//! Ending the process when its supervisor is gone.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::{END, GRACE, Serving, listening};

/// Ends the process within [`END`], with one line in the log.
///
/// No destructor and no code of Ruby runs: Ruby may be stuck. What may block, as a log does whose reader is stuck, runs on
/// a thread of its own, so that it cannot delay the end.
pub(super) fn end(name: &str, why: &str, serving: Option<Box<dyn Serving>>) -> ! {
    let deadline = Instant::now() + END;
    let line = format!("{name} (pid {}) ends: {why}", std::process::id());
    let (running, ended) = mpsc::channel::<()>();
    let work = move || {
        // Dropped at the end, also at a panic's.
        let _running = running;
        if let Some(serving) = &serving {
            serving.close_listeners();
        }
        listening::close_all();
        log::error!("{line}");
        if let Some(serving) = &serving {
            serving.drain(GRACE);
        }
    };
    if thread::Builder::new().name("push_end".to_owned()).spawn(work).is_ok() {
        // Nothing is ever sent.
        let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
    // SAFETY: ends the process, and touches nothing else.
    unsafe { libc::_exit(1) }
}
