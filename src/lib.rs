//! The Ruby-free core of push_server: reactor, HTTP, WebSocket, Server-Sent Events.
//!
//! Imports run one way: [`server`] → [`reactor`] → [`http`] → [`push`] → [`channel`]; nothing lower
//! names anything higher. The modules below [`channel`] in this table may be used by all of them.
//!
//! | module | what lives there |
//! |---|---|
//! | [`server`] | the front door: listeners in, `next()` for workers, drain and stop |
//! | [`reactor`] | the runtime that owns the sockets, who drives it, and the queue of [`Job`]s it feeds |
//! | [`http`] | HTTP/1.1 through hyper: guard, detection of upgrades, static files, responses |
//! | [`push`] | clients, their mailboxes and outgoing queues, WebSocket and SSE on the wire |
//! | [`channel`] | channels: one log, many readers |
//! | [`limits`] | every bound and timeout, in one table |
//! | [`stats`] | every counter, in one table |
//! | [`disk`] | the thread that does all work that may wait for a disk |
//! | [`access_log`] | a line for each response, written by a thread of its own |
//! | [`seldom`] | log lines about what happens again and again |
//! | `memory` | how much memory the machine has, and giving it back |
//! | [`shutdown`], [`tally`] | whether the server is stopping, and what is still unfinished |
//! | [`timers`], [`wakeups`] | the queue of deadlines; waking tasks from other threads |
//! | [`fork`] | whether this is a forked child |
//! | [`listener`], [`descriptors`] | sockets to accept from, and how many may be open |
//! | `wire` | bytes that several modules make: WebSocket frames, lines of event streams |

pub mod access_log;
pub mod channel;
pub mod descriptors;
pub mod disk;
pub mod fork;
pub mod http;
pub mod limits;
pub mod listener;
mod memory;
pub mod push;
pub mod reactor;
pub mod seldom;
pub mod server;
pub mod shutdown;
pub mod stats;
pub mod tally;
pub mod timers;
pub mod wakeups;
mod wire;

pub use limits::Limits;
pub use reactor::{Job, Next, Worker};
pub use server::{Server, Settings};
