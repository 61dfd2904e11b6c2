//! Hints to those who develop an app, in the log, each said once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use log::info;

/// Whether the hint on the names of events may still be said.
static EVENT_NAME: AtomicBool = AtomicBool::new(false);
/// Whether an event stream has been opened: without one a published message is no event.
static EVENT_STREAM: AtomicBool = AtomicBool::new(false);

/// A server starts: `wanted` is whether it is for development, and its app has not chosen a name.
pub fn expect_event_names(wanted: bool) {
    EVENT_NAME.store(wanted, Relaxed);
}

/// An event stream was opened.
pub fn event_stream_opened() {
    EVENT_STREAM.store(true, Relaxed);
}

/// The app wrote or published an event, and said or (`given` is false) did not say what it is
/// called. An app that has said it once knows of names, and needs no hint.
pub fn event_name(given: bool) {
    if !EVENT_NAME.load(Relaxed) || !(given || EVENT_STREAM.load(Relaxed)) {
        return;
    }
    if EVENT_NAME.swap(false, Relaxed) && !given {
        info!(
            "Over SSE an event that was given no name is called \"msg\": addEventListener(\"msg\", ...) hears it, \
             onmessage does not. For onmessage start with --sse-event '', or write and publish with event: nil. \
             (Said once, in development.)"
        );
    }
}
