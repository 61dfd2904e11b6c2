//! The hub: one process that orders the messages of several processes.
//!
//! | module | subject |
//! |---|---|
//! | [`protocol`] | the frames between the hub and its peers |

pub mod protocol;
