//! What the rest of this crate needs. Nothing here knows a class that this extension defines.
//!
//! | module | subject |
//! |---|---|
//! | [`gvl`] | leaving and re-entering Ruby's lock; the only place that does |
//! | [`cell`] | state that only a holder of the lock touches |
//! | [`jump`] | what ends a thread without being an exception: `Thread#kill`, `throw` |
//! | [`raw`] | functions of Ruby's C interface, called without a guard around each |
//! | [`pinned`] | Ruby objects in statics |
//! | [`interned`] | strings, symbols and method names that recur |
//! | [`classes`] | classes of Ruby's and of the library's |
//! | [`fields`] | Strings and fields that an app gives |
//! | [`handler`] | which callbacks a handler has |
//! | [`settings`] | a Hash of settings |
//! | [`workers`] | how many workers there are, and how many sit in a body |
//! | [`logger`] | the core's log lines, on stderr |
//! | [`developer_hints`] | hints to the developer of an app, each given once |

pub mod cell;
pub mod classes;
pub mod developer_hints;
pub mod fields;
pub mod gvl;
pub mod handler;
pub mod interned;
pub mod jump;
pub mod logger;
pub mod pinned;
pub mod raw;
pub mod settings;
pub mod workers;
