//! Calls of the app: for a request, and for a client's events.
//!
//! | module | subject |
//! |---|---|
//! | [`request`] | one call of the app |
//! | [`exchange`] | what the app returned, on its way to the client |
//! | [`events`] | a client's events, as calls of its handler |
//! | [`context`] | what one app thread needs for all requests |
//! | [`input`] | `rack.input` |
//! | [`declined`] | why a request was not upgraded |
//! | [`request_line`] | a request, for the log |

pub mod context;
pub mod declined;
pub mod events;
pub mod exchange;
pub mod input;
pub mod request;
pub mod request_line;
