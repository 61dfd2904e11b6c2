//! The access log: a line for each response, written by a thread of its own.
//!
//! | module | subject |
//! |---|---|
//! | [`handle`] | the access log, as the rest of the server uses it |
//! | [`entry`] | a request's line, from its arrival until it is written |
//! | [`outcome`] | what became of a request |
//! | [`mod@format`] | the three formats of lines |
//! | `apache` | common and combined, Apache's formats |
//! | `json` | lines that are JSON objects |
//! | `time` | the date and time in a line |
//! | `redaction` | keeps tokens out of it |
//! | `writer` | the thread that writes the lines, and the bounded queue in front of it |

mod apache;
pub mod entry;
pub mod format;
pub mod handle;
mod json;
pub mod outcome;
mod redaction;
mod time;
mod writer;

pub use entry::LogEntry;
pub use format::Format;
pub use handle::{AccessLog, AccessLogSettings};
pub use outcome::{RequestOutcome, Traffic};
