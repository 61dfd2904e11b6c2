//! Push connections: clients, their queues, and the streams and polls that carry them.
//!
//! | module | subject |
//! |---|---|
//! | [`context`] | what all clients of a server share |
//! | [`accept`] | how a client is made |
//! | `pending` | a client that has no connection yet |
//! | [`client`] | one connection as the app sees it: `write`, `pending`, `close`; any thread |
//! | [`subscriptions`] | a client's channels: `subscribe`, `unsubscribe`, `recovered?` |
//! | [`protocol`] | what a client and the server have agreed to speak |
//! | [`mailbox`] | a client's events, in order, on their way to the app |
//! | `outbox` | what an app wrote and asked for, on its way to the stream |
//! | [`last_write`] | what was written last, so that it is encoded once for many clients |
//! | [`queue`] | a client's frames, in order, on their way to the socket |
//! | `compression` | what is compressed for a client |
//! | [`inflaters`] | places for clients that refer to their earlier messages when they compress |
//! | [`reader`] | a client's reader of channels, and how messages become frames |
//! | [`fan_out`] | sends messages to idle streams without waking them |
//! | [`delivery`] | channel messages on their way from the log to the readers |
//! | [`pressure`] | a bound over the queues of all clients |
//! | [`reconnect`] | how long clients that are cut off wait before they reconnect |
//! | [`stream`] | the socket side of a client: a task of the reactor |
//! | [`poll`] | long polls: clients without a stream |
//! | [`unnumbered`] | what waits until messages of the app have their numbers |
//! | [`catching_up`] | clients whose cursor lies ahead of this process |
//! | `clients` | the clients of a server, by number |

pub mod accept;
pub mod catching_up;
pub mod client;
mod clients;
mod compression;
pub mod context;
pub mod delivery;
pub mod fan_out;
pub mod inflaters;
pub mod last_write;
pub mod mailbox;
mod outbox;
mod pending;
pub mod poll;
pub mod pressure;
pub mod protocol;
pub mod queue;
pub mod reader;
pub mod reconnect;
pub mod stream;
pub mod subscriptions;
pub mod unnumbered;

pub use client::Client;
pub use clients::Clients;
pub use compression::Compressed;
pub use context::{Callbacks, Context, SlowPolicy};
pub use delivery::PubSub;
pub use last_write::LastWrite;
pub use mailbox::{Event, EventInterest, Turn};
pub use protocol::{Negotiated, Protocol, SUBPROTOCOL};
pub use reconnect::ReconnectDelay;

pub use crate::websocket::{CloseStatus, Message};
