//! As much of the protocols as a client needs that knows what answers to expect.
//!
//! | module | subject |
//! |---|---|
//! | `http` | requests, and the answers to them |
//! | `websocket` | frames and the handshake |
//! | `inflate` | compressed messages of WebSockets |
//! | `sse` | event streams |
//! | `h2` | event streams that share a connection of HTTP/2 |
//! | `stream` | the messages of either |

pub mod h2;
pub mod http;
pub mod inflate;
pub mod sse;
pub mod stream;
pub mod websocket;
