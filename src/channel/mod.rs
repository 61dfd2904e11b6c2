//! Channels: one log, many readers.
//!
//! A message is appended to a log once. A subscriber is a cursor into that log, and has no queue of copies. So live
//! messages, a replay after a reconnect and a slow client are one code path: read what comes after the cursor.
//!
//! ```text
//! any thread                             state lock                        reactor
//! publish ─▶ Engine (number, queue) ─▶ Log: channels, floors ─▶ deliver: wake each reader once
//!            lock held for a push         ▲ subscribe, history        └▶ Reader::read: Bytes
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `channels` | the methods that other modules call: publish, history, deliver, sweep; any thread |
//! | [`engine`] | the interface of engines, which give messages their order |
//! | `event`, `progress` | what an engine tells the channels; how threads wait for an engine |
//! | `unnumbered` | which messages of a thread have no number yet |
//! | `reader` | a client's cursor: subscribe, read the next batch, lag |
//! | `subscription`, `batch` | what a reader subscribes to, and what one read returns |
//! | `draft`, `message` | what was published, encoded at most once per encoding |
//! | `encoding` | how a message becomes SSE blocks or WebSocket frames, and the cache of that |
//! | `compressor` | the thread that compresses long messages |
//! | `cursor` | `"<epoch>-<seq>"`, and where a subscription starts |
//! | `outlets` | readers that need not read by themselves |
//! | [`codec`] | messages as bytes, for engines beyond this process |
//! | `archive` | the histories without readers, for a process that orders the messages of others |
//! | `forgotten` | the floors of channels that are not open |
//! | `policy` | the rules of channels: history, ttl and what happens to slow readers |
//! | `pattern`, `globs` | globs as in Redis; finding those that match a name |
//! | `presence` | the members of channels |
//! | `client_id` | ids of clients, and how processes keep theirs apart |
//! | `notice` | what the server itself tells one reader: gaps, drops, present members |
//! | `log` | all channels under one lock: append, subscribe, read, evict |
//! | `limits`, `error`, `wake` | the bounds, what is refused, how readers are woken |
//! | `work` | how much one hold of the lock looks at |
//! | `slab` | a table with small numbers as keys |
//!
//! Terms: a message's *seq* is its number in the log. A channel's *floor* is the seq of its newest stored message that
//! is gone. A reader is *attached* while its connection lasts. Messages that an attached reader has not got yet are
//! *pinned*: they are kept even if they are not history, until the log's memory is full or the reader is given up.

mod archive;
mod batch;
mod channels;
mod client_id;
pub mod codec;
mod compressor;
mod cursor;
mod draft;
mod encoding;
pub mod engine;
mod error;
mod event;
pub(crate) mod forgotten;
mod globs;
mod limits;
mod log;
mod message;
mod notice;
mod outlets;
mod pattern;
mod policy;
mod presence;
mod progress;
mod reader;
mod slab;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;
mod unnumbered;
mod wake;
mod work;

pub use archive::Archive;
pub use batch::{Batch, Lag};
pub use channels::{CATCH_UP, CatchUp, Channels, Figures, History, Post, Posted, Receipt, Unsent};
pub use client_id::{client_id, process_of};
pub use cursor::{Cursor, Epoch, Since, Unreadable};
pub use draft::{Draft, EventName, Kind};
pub use encoding::{Deflations, Encoding, Shape};
pub use engine::Engine;
pub use error::{EngineError, Error};
pub use event::{Change, ChangeKind, Command, Event, PresentMember, Reset};
pub use forgotten::Forgotten;
pub use limits::Limits;
pub use message::Message;
pub use notice::Notice;
pub use outlets::{Outlets, SharedBatch};
pub use pattern::Pattern;
pub use policy::{Policy, Slow};
pub use presence::{MemberChange, Members};
pub use progress::{Cancel, Progress, Refusal, Ticket, Unpublished};
pub use reader::Reader;
pub use subscription::{Member, Subscription, Target};
pub use unnumbered::{forget_unnumbered, forget_unnumbered_up_to};
pub use wake::Wake;
