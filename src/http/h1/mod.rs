//! HTTP/1: how requests come in on a socket, and how responses go out.

mod head_writer;

pub(super) use head_writer::write_head;
