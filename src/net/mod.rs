//! Sockets: listening, accepting, reading and writing, and how many may be open.
//!
//! | module | subject |
//! |---|---|
//! | [`listeners`] | the listeners of a server, which are added and retired at any time |
//! | [`listener`] | a listening socket of any family |
//! | [`accept`] | accepting connections, as many as may be open |
//! | `pace` | how processes share the connections of one listening socket |
//! | [`socket`] | the socket of a connection, of any family |
//! | `read_buffer` | the buffer into which connections read |
//! | [`peer`] | the other end of a connection |
//! | [`trusted`] | proxies that may tell the client's address |
//! | [`proxy_protocol`] | how they say it before the first request |
//! | [`tls`] | encrypted connections |
//! | [`h2_stream`] | a stream of an HTTP/2 connection, as a socket |
//! | [`h2_received`] | a bound for what all HTTP/2 connections have received |
//! | [`fds`] | the limit of open files |

pub mod accept;
pub mod fds;
pub mod h2_received;
pub mod h2_stream;
pub mod listener;
pub mod listeners;
mod pace;
pub mod peer;
pub mod proxy_protocol;
pub(crate) mod read_buffer;
pub mod socket;
pub mod tls;
pub mod trusted;

pub use accept::{Accepted, Acceptor};
pub use listener::{ListenError, ListenerId};
pub use listeners::Listeners;
pub use peer::Peer;
pub use socket::Socket;
pub use trusted::{BadNetwork, TrustedProxies};
