//! HTTP/2, by the crate h2 (RFC 9113), and WebSockets over it (RFC 8441).
//!
//! | module | subject |
//! |---|---|
//! | [`connection`] | the task of one connection |
//! | `transport` | the socket beneath h2, which collects what is written in a turn |
//! | [`frame_scanner`] | the scanner beneath h2, which counts frames that h2 does not count |
//! | `exchange` | the task of a stream: a request, and its response or what takes its place |
//! | `request_state` | what the app thread and that task share |
//! | `translation` | heads of HTTP/2 as those of HTTP/1, and back |
//! | `upload_body` | the body of a request |
//! | `sending` | the response |
//! | `pumped` | `rack.hijack` for a WebSocket |

pub(super) mod connection;
mod exchange;
pub(super) mod frame_scanner;
mod pumped;
mod request_state;
mod sending;
mod translation;
mod transport;
mod upload_body;
