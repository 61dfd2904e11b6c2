//! The Ruby extension of push_server: everything that touches a Ruby VALUE.
//!
//! Ruby objects never leave this crate; the core knows clients and requests by number.
//!
//! | module | subject | may use |
//! |---|---|---|
//! | [`native_server`] | `PushServer::NativeServer`: the worker loop, drain and stop | all |
//! | [`app`] | calls of the app: a request, a client's events | `ruby`, `rack`, `support` |
//! | [`ruby`] | the other Ruby classes, one a file | `rack`, `support` |
//! | [`rack`] | Rack's values, made of the core's and taken apart | `support` |
//! | [`support`] | what all of them need | |

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
    ruby::callbacks::init(module)?;
    ruby::answer::init(ruby, module)?;
    ruby::body_stream::init(ruby, module)?;
    ruby::spool_reservation::init(ruby, module)?;
    native_server::init(ruby, module)
}
