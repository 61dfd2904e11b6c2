//! Calls of the app: for a request, and for a client's events.
//!
//! | module | subject |
//! |---|---|
//! | [`request`] | one call of the app |
//! | [`exchange`] | what the app returned, on its way to the client |
//! | [`input`] | `rack.input` |
//! | [`declined`] | why a request was not upgraded |
//! | [`events`] | a client's events, as calls of its handler |

pub mod declined;
pub mod events;
pub mod exchange;
pub mod input;
pub mod request;
