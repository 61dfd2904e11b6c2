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

use magnus::{Error, Module, RModule, Ruby, Value};

/// Called by Ruby when the extension is required.
#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let module = ruby.define_module("PushServer")?;
    support::logger::init();
    support::interned::init(ruby);
    rack::env::init(ruby);
    ruby::client::init(ruby, module)?;
    ruby::registry::init(ruby, module)?;
    ruby::channels::init(ruby, module)?;
    native_server::init(ruby, module)?;
    ruby::answer::init(ruby, module)?;
    ruby::body_stream::init(ruby, module)?;
    app::input::init(ruby, module)?;
    app::events::init(ruby, module)
}

/// The `PushServer` module.
fn module(ruby: &Ruby) -> Result<RModule, Error> {
    ruby.class_object().const_get("PushServer")
}

/// Logs an exception that nobody rescued: one line that says where, then class, message and backtrace. The error is
/// what must end this thread.
fn log_exception(ruby: &Ruby, place: &str, exception: Value) -> Result<(), Error> {
    use magnus::value::ReprValue;

    let logged = module(ruby).and_then(|it| it.funcall::<_, _, Value>("log_exception", (place, exception)));
    if support::jump::unless_raised(logged)?.is_none() {
        log::error!("{place}: {}; logging it raised an exception, too", support::jump::class_name(exception));
    }
    Ok(())
}
