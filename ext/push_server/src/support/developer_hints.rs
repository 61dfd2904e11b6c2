//! Hints to the developer of an app, in the log. Each is logged once. Any thread may call all functions.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use log::info;

/// Whether the hint about names of events may still be logged.
static EVENT_NAME: AtomicBool = AtomicBool::new(false);
/// Whether the hint about bytes that are text may still be logged.
static TEXT_IN_BYTES: AtomicBool = AtomicBool::new(false);
/// Whether an event stream has been opened. Before that, a published message is perhaps not meant as an event.
static EVENT_STREAM: AtomicBool = AtomicBool::new(false);

/// Called when a server starts. `wanted`: the environment is development, and the app has not chosen a name.
pub fn expect_event_names(wanted: bool) {
    EVENT_NAME.store(wanted, Relaxed);
}

/// Called when a server starts. `wanted`: the environment is development.
pub fn expect_text_in_bytes(wanted: bool) {
    TEXT_IN_BYTES.store(wanted, Relaxed);
}

/// Whether [`text_in_bytes`] would log its hint.
pub fn expects_text_in_bytes() -> bool {
    TEXT_IN_BYTES.load(Relaxed)
}

/// Called when the app has given `what` a String of bytes that are valid UTF-8.
pub fn text_in_bytes(what: &str) {
    if expects_text_in_bytes() && TEXT_IN_BYTES.swap(false, Relaxed) {
        info!(
            "{what} was given an ASCII-8BIT String that is valid UTF-8. A WebSocket gets it as a binary message, an event \
             stream as text. Strings from rack.input or a Rack env are ASCII-8BIT: if such a String is text, call \
             force_encoding(Encoding::UTF_8). (Logged once, in development.)"
        );
    }
}

/// Called when an event stream is opened.
pub fn event_stream_opened() {
    EVENT_STREAM.store(true, Relaxed);
}

/// Called when the app writes or publishes an event. `given`: the app has named the event, or passed `event: nil`. An
/// app that has done so once needs no hint.
pub fn event_name(given: bool) {
    if !EVENT_NAME.load(Relaxed) || !(given || EVENT_STREAM.load(Relaxed)) {
        return;
    }
    if EVENT_NAME.swap(false, Relaxed) && !given {
        info!(
            "Over SSE an event without a name of its own is called \"msg\": addEventListener(\"msg\", ...) receives \
             it, onmessage does not. For onmessage, start the server with --sse-event '', or write and publish with \
             event: nil. (Logged once, in development.)"
        );
    }
}
