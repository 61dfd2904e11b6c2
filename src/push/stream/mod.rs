//! The connection of a client: a task of the reactor.
//!
//! After the upgrade, a stream owns the connection, and hyper and its buffers are gone. It is one future written by hand, so
//! that an idle stream costs no more than its struct. It borrows the read buffer of its thread while it reads, and its
//! deadlines are in the queue that all tasks share.
//!
//! | module | subject |
//! |---|---|
//! | [`task`] | the future: its state, and what it does in a turn |
//! | `pipe` | what it sends through and reads from |
//! | `reading` | messages for the mailbox, pings, and the end |
//! | `writing` | frames to the pipe, and what the client and the access log are told of them |
//! | `channels` | what it reads of channels |
//! | `parking` | when messages are sent to its socket without waking it |
//! | `deadlines` | pings, heartbeats, slow clients |
//! | `closing` | how it ends |
//! | `input_end` | a WebSocket whose input has ended |

mod channels;
mod closing;
mod deadlines;
mod input_end;
mod parking;
mod pipe;
mod reading;
pub mod task;
#[cfg(test)]
mod tests;
mod writing;

pub use task::Stream;
