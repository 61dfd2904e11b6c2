//! HTTP: from a connection to a [`Request`] for an app thread, and back.
//!
//! | module | subject |
//! |---|---|
//! | [`connection`] | how a connection begins: PROXY protocol, TLS, HTTP/1 or HTTP/2 |
//! | [`context`] | what all connections share |
//! | [`h1`] | HTTP/1: the connection, its framing, hyper |
//! | `h2` | HTTP/2: the connection, its streams, the crate h2 |
//! | `linger` | reading on after the last response |
//! | [`service`] | what happens to a request, step by step |
//! | `refusal` | what is counted and logged of heads that are refused |
//! | [`validate`] | refusing requests that hyper accepts and a server must refuse |
//! | [`upload`] | reading a request's body |
//! | [`spool`] | a request's body in memory or in a temporary file |
//! | [`budget`] | a bound for all bodies in temporary files together |
//! | [`headers`] | reading header fields: single values, lists, q-values |
//! | [`upgrade`] | which requests can become push connections, and the head that accepts one |
//! | `event_stream` | the headers of event streams |
//! | [`long_poll`] | which requests are long polls, and how they are answered |
//! | [`forwarded`] | the client's address and scheme as a trusted proxy tells them |
//! | [`origin`] | which web pages may open a WebSocket |
//! | [`files`] | static files |
//! | [`request`] | a request on its way to the app |
//! | [`responder`] | how an app answers it |
//! | [`exchange`] | the way back from the app thread to the connection |
//! | [`hijack`], `hijacked_body` | giving the socket to the app |
//! | [`head`] | the head of a response, before a protocol has written it |
//! | [`response`] | responses, with the app's status checked |
//! | [`response_headers`] | their headers, checked, in the form of HTTP/1 |
//! | [`body`] | response bodies, complete or still being written |
//! | [`file_body`] | a file as a response body |

pub mod body;
pub mod budget;
pub mod connection;
pub mod context;
mod event_stream;
mod exchange;
pub mod file_body;
pub mod files;
mod forwarded;
pub mod h1;
mod h2;
pub mod head;
pub mod headers;
pub mod hijack;
mod hijacked_body;
mod linger;
mod long_poll;
pub mod origin;
mod refusal;
pub mod request;
pub mod responder;
pub mod response;
pub mod response_headers;
mod service;
pub mod spool;
#[cfg(test)]
mod tests;
pub mod upgrade;
mod upload;
pub mod validate;

pub use body::{BodyWriter, Pushed};
pub use context::Context;
pub use request::{Dispatch, Request};
pub use responder::{Acceptance, Hijacking, Responder};
pub use response::Response;
pub use response_headers::{HeadError, ResponseHeaders};

pub use crate::request_head::{Method, RequestHead};
