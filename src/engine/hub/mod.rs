//! The hub: one process that orders the messages of several processes.
//!
//! | module | subject |
//! |---|---|
//! | [`protocol`] | the frames between the hub and its peers |
//! | [`publisher`] | publishing from a process that serves nobody |

pub mod protocol;
pub mod publisher;
