//! The core's log lines, on stderr, in the form of `PushServer.log`. Any thread may log, without the GVL too, and in a
//! forked child.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use push_core::base::output::STDERR;

/// Which process of a server this is, as `[worker 1] `. It is never freed: a process has few names, and a thread that
/// writes takes no lock, whose holder might not exist in a forked child.
static NAME: AtomicPtr<String> = AtomicPtr::new(ptr::null_mut());

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The lines of the libraries are for their developers.
        metadata.target().starts_with("push_")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            // One write for each line, so that the lines of threads do not mix.
            STDERR.write(format!("[push_server] {level}: {}{}\n", name(), record.args()).as_bytes());
        }
    }

    fn flush(&self) {}
}

fn name() -> &'static str {
    // SAFETY: it is null, or what `set_name` has leaked.
    unsafe { NAME.load(Ordering::Acquire).as_ref() }.map_or("", String::as_str)
}

/// Puts `name` at the beginning of each message.
pub fn set_name(name: Option<&str>) {
    let name = name.map_or_else(ptr::null_mut, |name| Box::into_raw(Box::new(format!("[{name}] "))));
    NAME.store(name, Ordering::Release);
}

pub fn init() {
    // An error means that there is a logger already, because the extension was loaded twice.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(LevelFilter::Info);
}
