//! All channels, under one lock. Nothing here waits, and nothing calls other modules except by [`super::Wake`].
//!
//! | module | subject |
//! |---|---|
//! | `store` | the [`Log`]: append a message, open and forget channels, wake readers |
//! | `history` | what a channel keeps, and where a reader that returns continues |
//! | `image` | all that channels have kept, for another process |
//! | `attached` | a reader, as the log sees it |
//! | `attach` | where readers start: attach, subscribe, open |
//! | `read` | what a reader gets next, and how far it is behind |
//! | `hand_out` | the same for readers that need not read by themselves |
//! | `rebase` | the log begins anew, in another epoch or behind a loss |
//! | `retention` | which messages are freed when the memory is full, and as time passes |
//! | `channel` | one channel: its messages, its floor, its readers' places |
//! | `memory`, `rank` | how much memory channels take, and which of them take most |
//! | `names` | channels by name |

mod attach;
mod attached;
mod channel;
mod hand_out;
mod history;
mod image;
mod memory;
mod names;
mod rank;
mod read;
mod rebase;
mod retention;
mod store;

pub(super) use attached::Item;
#[cfg(test)]
pub(super) use attached::SIZE as READER_SIZE;
#[cfg(test)]
pub(super) use channel::SIZE as CHANNEL_SIZE;
pub(super) use store::Log;
