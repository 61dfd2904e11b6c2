//! The core's log lines, on stderr, in the form of `PushServer.log`. Any thread may log, without the GVL too, and in a
//! forked child.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

use log::{LevelFilter, Log, Metadata, Record};

const STDERR: i32 = 2;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The lines of the libraries are for their developers.
        metadata.target().starts_with("push_")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            // There is one write for each line, so that the lines of threads do not mix. An error does not matter:
            // stderr may be closed. This does not use `std::io::stderr`, because in a forked child the holder of its
            // lock may not exist.
            let line = format!("[push_server] {level}: {}\n", record.args());
            // SAFETY: `ManuallyDrop` keeps the descriptor open.
            let stderr = ManuallyDrop::new(unsafe { File::from_raw_fd(STDERR) });
            let _ = (&*stderr).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

pub fn init() {
    // An error means that there is a logger already, because the extension was loaded twice.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(LevelFilter::Info);
}
