//! Channels: one log, many readers.
//!
//! A message is appended once to a log; a subscriber is a cursor into that log, not a queue of
//! copies. A live tail, a replay after a reconnect and a slow client are then one code path: read
//! what comes after the cursor.
//!
//! ```text
//! any thread                             state lock                        reactor
//! publish ─▶ Engine (number, queue) ─▶ Log: channels, floors ─▶ deliver: wake each reader once
//!            lock held for a push         ▲ subscribe, history        └▶ Reader::read: Bytes
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `channels` | the front door: publish, history, deliver, sweep; any thread |
//! | [`engine`] | where messages get their order; the seam for engines beyond this process |
//! | `event`, `progress` | what an engine tells the channels; how threads wait for an engine |
//! | `reader` | a client's cursor: subscribe, read the next batch, lag |
//! | `subscription`, `batch` | what a reader asks for, and what one read gives |
//! | `draft`, `message` | what was published, encoded at most once per encoding |
//! | `encoding` | how a message becomes SSE blocks or WebSocket frames, and the cache of that |
//! | `cursor` | `"<epoch>-<seq>"`, and where a subscription starts |
//! | [`codec`] | messages as bytes, for engines beyond this process |
//! | `policy` | history, ttl and what happens to slow readers, by glob |
//! | `pattern`, `globs` | globs in the manner of Redis; finding those that match a name |
//! | `presence` | the members of channels |
//! | `client_id` | ids of clients, and how processes keep theirs apart |
//! | `notice` | what the server itself tells one reader: gaps, drops, present members |
//! | `log` | all channels under one lock: append, subscribe, read, evict |
//! | `limits`, `error`, `wake` | the bounds, what is refused, how readers are woken |
//! | `work` | how much one hold of the lock looks at |
//! | `slab` | a table with small numbers as keys |
//!
//! Words: a channel's *floor* is the seq of its newest stored message that is gone. A reader is
//! *attached* while its connection lasts. What an attached reader has not got yet is *pinned*:
//! kept, whatever the channel's history, until the log's memory is full or the reader is given up.

mod batch;
mod channels;
mod client_id;
pub mod codec;
mod cursor;
mod draft;
mod encoding;
pub mod engine;
mod error;
mod event;
mod globs;
mod limits;
mod log;
mod message;
mod notice;
mod pattern;
mod policy;
mod presence;
mod progress;
mod reader;
mod slab;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;
mod wake;
mod work;

pub use batch::{Batch, Lag};
pub use channels::{Channels, Figures, History, Post, Posted, Receipt, Unsent};
pub use client_id::{client_id, process_of};
pub use cursor::{Cursor, Epoch, Since, Unreadable};
pub use draft::{Draft, EventName, Kind};
pub use encoding::{Encoding, Shape};
pub use engine::Engine;
pub use error::{EngineError, Error};
pub use event::{Change, ChangeKind, Command, Event, Reset};
pub use limits::Limits;
pub use message::Message;
pub use notice::Notice;
pub use pattern::Pattern;
pub use policy::{Policy, Slow};
pub use progress::{Cancel, Progress, Ticket};
pub use reader::Reader;
pub use subscription::{Member, Subscription, Target};
pub use wake::Wake;
