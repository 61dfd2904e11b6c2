//! What the rest of this crate needs. Nothing here knows a class that this extension defines.
//!
//! | module | subject |
//! |---|---|
//! | [`gvl`] | leaving and re-entering Ruby's lock (the GVL); the only place that does |
//! | [`cell`] | state that only a holder of the GVL touches |
//! | [`jump`] | what ends a thread without being an exception: `Thread#kill`, `throw` |
//! | [`raw`] | functions of Ruby's C interface, called without a guard around each |
//! | [`entries`] | reading a Hash |
//! | [`pinned`] | Ruby objects in statics |
//! | [`interned`] | strings, symbols and method names that recur |
//! | [`classes`] | Ruby's own classes |
//! | [`library`] | all that this extension names in `lib/` |
//! | [`errors`] | Ruby exceptions |
//! | [`fields`] | Strings and fields that an app gives |
//! | [`descriptor`] | file descriptors that become Ruby's |
//! | [`handler`] | which callbacks a handler has |
//! | [`settings`] | a Hash of settings |
//! | [`statistics`] | what was counted |
//! | [`app_threads`] | how many app threads there are, and how many of them stream a body |
//! | [`tls`] | certificates and keys |
//! | [`logger`] | the core's log lines, on stderr |
//! | [`developer_hints`] | hints to the developer of an app, each given once |

pub mod app_threads;
pub mod cell;
pub mod classes;
pub mod descriptor;
pub mod developer_hints;
pub mod entries;
pub mod errors;
pub mod fields;
pub mod gvl;
pub mod handler;
pub mod interned;
pub mod jump;
pub mod library;
pub mod logger;
pub mod pinned;
pub mod raw;
pub mod settings;
pub mod statistics;
pub mod tls;
