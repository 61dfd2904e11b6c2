//! The Ruby classes that this extension defines, one a file; [`crate::native_server`] is one, too.
//!
//! | module | subject |
//! |---|---|
//! | [`client`] | `PushServer::Client` |
//! | [`client_channels`] | its channels |
//! | [`channels`] | `PushServer::Channels`: publish and the rest that needs no client |
//! | [`registry`] | the clients that the garbage collector must keep |
//! | [`answer`] | `PushServer::Answer`: `rack.hijack`, `rack.early_hints` |
//! | [`body_stream`] | `PushServer::BodyStream`: the stream of a Rack 3 streaming body |

pub mod answer;
pub mod body_stream;
pub mod channels;
pub mod client;
pub mod client_channels;
pub mod registry;
