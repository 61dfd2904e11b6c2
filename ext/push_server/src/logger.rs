//! The core's log lines, on stderr, in the form of `PushServer.log`.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries below us have nothing to say to people.
        metadata.target().starts_with("push_")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            // One write a line, so that threads do not mix theirs. Nobody is told if stderr is gone.
            let line = format!("[push_server] {level}: {}\n", record.args());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

pub fn init() {
    // An error means that there is a logger already: the extension was loaded twice.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(LevelFilter::Info);
}
