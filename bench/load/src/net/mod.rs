//! Sockets of the loopback interface.
//!
//! | module | subject |
//! |---|---|
//! | `epoll` | waiting for many sockets |
//! | `connect` | opening connections, and upgrading them |
//! | `socket` | a socket, with TLS or without |
//! | `wire` | a connection under load, which never waits |

pub mod connect;
pub mod epoll;
pub mod socket;
pub mod wire;
