//! The Ruby-free core of push_server.
