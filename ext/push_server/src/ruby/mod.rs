//! The Ruby classes and modules that this extension defines, one a file; [`crate::native_server`] is one, too.
//!
//! `lib/push_server/native/` documents their methods for callers, because YARD and RubyDoc.info read Ruby files
//! without a plugin. The comments here do not repeat that: they say what is not seen from outside.
//!
//! | module | subject |
//! |---|---|
//! | [`client`] | `PushServer::Client`: one push connection |
//! | [`client_arguments`] | what its methods are given |
//! | [`client_values`] | what it holds of Ruby's |
//! | [`client_channels`] | its subscriptions |
//! | [`registry`] | `PushServer::Registry`: the clients that the garbage collector must keep |
//! | [`channels`] | `PushServer::Channels`: publish and the rest that needs no client |
//! | [`own_channels`] | the channels that this process has of its own, and their engine |
//! | [`cursor`] | `PushServer::Cursor`: a place in the log; waiting for what was published |
//! | [`callbacks`] | `PushServer::Callbacks`: what runs around each callback |
//! | [`hub`] | `PushServer::NativeHub`: the loop of the hub's process |
//! | [`lifeline`] | `PushServer::NativeLifeline`: the thread that watches the supervisor |
//! | [`answer`] | `PushServer::Answer`: `rack.hijack`, `rack.early_hints` |
//! | [`body_stream`] | `PushServer::BodyStream`: the stream of a Rack 3 streaming body |
//! | [`outside`] | publishing from a process without a server |
//! | [`process`] | `PushServer::NativeProcess`: what Ruby lacks to supervise processes |
//! | [`slots`] | `PushServer::NativeSlots`: the statistics of several processes |
//! | [`spool_reservation`] | `PushServer::SpoolReservation`: a request body's part of `max_spooled_total` |
//! | [`ticket_keys`] | `PushServer::NativeTicketKeys`: the keys of TLS session tickets |

pub mod answer;
pub mod body_stream;
pub mod callbacks;
pub mod channels;
pub mod client;
pub mod client_arguments;
pub mod client_channels;
pub mod client_values;
pub mod cursor;
pub mod hub;
pub mod lifeline;
pub mod outside;
pub mod own_channels;
pub mod process;
pub mod registry;
pub mod slots;
pub mod spool_reservation;
pub mod ticket_keys;
