//! Hints to those who develop an app, in the log, each said once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use log::info;

/// Whether the hint on the names of events may still be said.
static EVENT_NAME: AtomicBool = AtomicBool::new(false);
/// Whether the hint on bytes that are text may still be said.
static TEXT_IN_BYTES: AtomicBool = AtomicBool::new(false);
/// Whether an event stream has been opened: without one a published message is no event.
static EVENT_STREAM: AtomicBool = AtomicBool::new(false);

/// A server starts: `wanted` is whether it is for development, and its app has not chosen a name.
pub fn expect_event_names(wanted: bool) {
    EVENT_NAME.store(wanted, Relaxed);
}

/// A server starts: `wanted` is whether it is for development.
pub fn expect_text_in_bytes(wanted: bool) {
    TEXT_IN_BYTES.store(wanted, Relaxed);
}

/// Whether [`text_in_bytes`] would say anything.
pub fn expects_text_in_bytes() -> bool {
    TEXT_IN_BYTES.load(Relaxed)
}

/// The app has given `what` a String of bytes that are valid UTF-8.
pub fn text_in_bytes(what: &str) {
    if expects_text_in_bytes() && TEXT_IN_BYTES.swap(false, Relaxed) {
        info!(
            "{what} was given an ASCII-8BIT String that is valid UTF-8: a WebSocket gets it as a binary message, an event \
             stream as text. What comes from rack.input or a Rack env is tagged so: if it is text, \
             force_encoding(Encoding::UTF_8) says so. (Said once, in development.)"
        );
    }
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
