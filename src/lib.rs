//! The Ruby-free core of push_server: reactor, HTTP, WebSocket, Server-Sent Events.
//!
//! A module uses only modules below it in this table. `spec/unit/layers_spec.rb` checks that, and docs/architecture.md has more.
//!
//! | module | subject |
//! |---|---|
//! | [`server`] | everything together: listeners in, `next()` for app threads, drain and stop |
//! | [`reactor`] | the runtime that owns the sockets, which thread drives it, and the queue of [`Job`]s |
//! | [`http`] | HTTP/1 and HTTP/2: requests, upgrades, static files, responses |
//! | [`push`] | clients, their mailboxes and queues, streams and long polls |
//! | [`engine`] | where messages of channels get their numbers: in this process, or by the hub |
//! | [`metrics`] | what the server counts, for Prometheus: formats, and a small HTTP server of its own |
//! | [`channel`] | channels: one log, many readers |
//! | [`access_log`] | a line for each response, written by a thread of its own |
//! | [`request_head`] | the head of a request: its bytes, and where in them the parts are |
//! | [`websocket`] | RFC 6455: frames out, messages in, close codes |
//! | [`sse`] | `text/event-stream`: events that cannot break out of their lines |
//! | [`net`] | sockets: listening, accepting, reading and writing |
//! | [`lifeline`] | a thread that watches the supervisor of this process |
//! | [`base`] | limits, counters, deadlines, wake-ups, lifecycle: what every module may use |

pub mod access_log;
pub mod base;
pub mod channel;
pub mod engine;
pub mod http;
pub mod lifeline;
pub mod metrics;
pub mod net;
pub mod push;
pub mod reactor;
pub mod request_head;
pub mod server;
pub mod sse;
pub mod websocket;

pub use base::limits::Limits;
pub use reactor::{AppThread, Job, Next};
pub use server::{Server, Settings};
