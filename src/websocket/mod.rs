//! WebSocket: RFC 6455 in bytes.
//!
//! Both directions are ours, on tungstenite's frame header. Messages that come in are decoded from the read buffer that all
//! streams of a thread share. tungstenite's own state machine keeps a buffer per connection that grows to the largest
//! message and never shrinks: 200 idle clients held 190 MB after a message of 1 MB each.
//!
//! | module | subject |
//! |---|---|
//! | [`frame`] | frames that the server sends |
//! | [`decoder`] | messages and control frames that the client sends |
//! | [`message`] | a whole message |
//! | [`deflate`] | compressed messages, RFC 7692 |
//! | [`close`] | close codes and reasons |

pub mod close;
pub mod decoder;
pub mod deflate;
pub mod frame;
pub mod message;

pub use close::CloseStatus;
pub use decoder::{Decoder, Incoming};
pub use frame::Opcode;
pub use message::Message;
