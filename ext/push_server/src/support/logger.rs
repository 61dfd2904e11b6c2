//! The core's log lines, on stderr, in the form of `PushServer.log`.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

use log::{LevelFilter, Log, Metadata, Record};

const STDERR: i32 = 2;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries below us have nothing to say to people.
        metadata.target().starts_with("push_")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            // One write a line, so that threads do not mix theirs. It does not matter if stderr is gone. This does
            // not use `std::io::stderr`: in a forked child, its lock may be held by a thread that is not there.
            let line = format!("[push_server] {level}: {}\n", record.args());
            // SAFETY: the descriptor is not closed here.
            let stderr = ManuallyDrop::new(unsafe { File::from_raw_fd(STDERR) });
            let _ = (&*stderr).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

pub fn init() {
    // An error means that there is a logger already: the extension was loaded twice.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(LevelFilter::Info);
}
