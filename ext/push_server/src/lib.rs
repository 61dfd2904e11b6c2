//! The Ruby extension of push_server: everything that touches a Ruby VALUE.
//!
//! Ruby objects never leave this crate; the core knows clients and requests by number.
//!
//! | module | subject | may use |
//! |---|---|---|
//! | [`native_server`] | `PushServer::NativeServer`: the worker loop, drain and stop | all others |
//! | [`app`] | calls of the app: a request, a client's events | `ruby`, `rack`, `support` |
//! | [`ruby`] | the other Ruby classes, one a file | `rack`, `support` |
//! | [`rack`] | translation between Rack's values and the core's | `support` |
//! | [`support`] | what all of them need | nothing |
//!
//! `spec/unit/layers_spec.rb` checks the last column, and that no files of a module use each other in a circle.
//!
//! **The GVL.** A function that takes a [`Ruby`] is called with Ruby's global lock, the GVL, and returns with it. Where
//! it releases the lock meanwhile, its comment says so. If it returns an [`Error`], it can run Ruby code, and so let
//! other threads run; the error may end the thread, and must be returned to Ruby, see [`support::jump`]. Everything
//! else may be called by any thread. The garbage collector calls the `mark` functions: with the lock, and in the middle
//! of anything that allocates a Ruby object.
//!
//! **Forks.** In a child that the app has forked, nothing here touches a lock, a socket or a thread of the parent,
//! because they belong to the parent, or do not exist in the child. What Ruby may call there asks `forked()` first.

// The macro makes a function without a doc comment.
#![allow(missing_docs)]

mod app;
mod native_server;
mod rack;
mod ruby;
mod support;

use magnus::{Error, Ruby};

/// Called by Ruby when the extension is required.
#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let module = ruby.define_module("PushServer")?;
    support::logger::init();
    support::interned::init(ruby);
    rack::env::init(ruby);
    let client = ruby::client::init(ruby, module)?;
    ruby::client_channels::init(client)?;
    ruby::registry::init(ruby, module)?;
    ruby::channels::init(module)?;
    ruby::cursor::init(ruby, module)?;
    ruby::callbacks::init(module)?;
    ruby::answer::init(ruby, module)?;
    ruby::body_stream::init(ruby, module)?;
    ruby::spool_reservation::init(ruby, module)?;
    ruby::process::init(module)?;
    ruby::slots::init(ruby, module)?;
    ruby::ticket_keys::init(ruby, module)?;
    ruby::hub::init(module)?;
    ruby::lifeline::init(ruby, module)?;
    native_server::init(ruby, module)
}
