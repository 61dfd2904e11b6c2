//! Sockets: listening, accepting, and how many may be open.
//!
//! | module | subject |
//! |---|---|
//! | [`fds`] | the limit of open files |

pub mod fds;
