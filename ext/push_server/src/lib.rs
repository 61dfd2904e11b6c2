//! The Ruby extension of push_server: everything that touches a Ruby VALUE.
//!
//! Ruby objects never leave this crate; the core knows clients and requests by number.
//!
//! | module | subject |
//! |---|---|
//! | [`gvl`] | leaving and re-entering Ruby's lock; the only place that does |
//! | [`cell`] | state that only a holder of the lock touches |
//! | [`reactor`] | `PushServer::NativeServer`: settings, the worker loop, drain and stop |
//! | [`request`] | one call of the app |
//! | [`exchange`] | what the app returned, on its way to the client |
//! | [`declined`] | why a request was not upgraded |
//! | [`env`] | the Rack env |
//! | [`template`] | what the envs of a listener have in common |
//! | [`words`] | strings, symbols and method names that recur |
//! | [`raw`] | functions of Ruby's C interface, called without a guard around each |
//! | [`input`] | `rack.input` |
//! | [`response`] | `[status, headers, body]` |
//! | [`body_stream`] | the stream of a Rack 3 streaming body |
//! | [`hints`] | hints to the developer of an app, each given once |
//! | [`hijack`] | the way back from the app: `rack.hijack`, `rack.early_hints` |
//! | [`workers`] | how many workers there are, and how many sit in a body |
//! | [`callbacks`] | a client's events, as calls of its handler |
//! | [`handler`] | which callbacks a handler has |
//! | [`classes`] | classes of Ruby's and of the library's |
//! | [`client`] | `PushServer::Client` |
//! | [`pubsub`] | `PushServer::Channels`: publish and the rest that needs no client |
//! | [`subscriptions`] | a client's channels |
//! | [`fields`] | Strings and fields that an app gives |
//! | [`pinned`] | Ruby objects in statics |
//! | [`registry`] | the clients that the garbage collector must keep |
//! | [`settings`] | a Hash of settings |
//! | [`jump`] | what ends a thread without being an exception: `Thread#kill`, `throw` |
//! | [`logger`] | the core's log lines, on stderr |

// The macro makes a function without a doc comment.
#![allow(missing_docs)]

mod body_stream;
mod callbacks;
mod cell;
mod classes;
mod client;
mod declined;
mod env;
mod exchange;
mod fields;
mod gvl;
mod handler;
mod hijack;
mod hints;
mod input;
mod jump;
mod logger;
mod pinned;
mod pubsub;
mod raw;
mod reactor;
mod registry;
mod request;
mod response;
mod settings;
mod subscriptions;
mod template;
mod words;
mod workers;

use magnus::{Error, Module, RModule, Ruby, Value};

/// Called by Ruby when the extension is required.
#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let module = ruby.define_module("PushServer")?;
    logger::init();
    words::init(ruby);
    env::init(ruby);
    client::init(ruby, module)?;
    registry::init(ruby, module)?;
    pubsub::init(ruby, module)?;
    reactor::init(ruby, module)?;
    hijack::init(ruby, module)?;
    body_stream::init(ruby, module)?;
    input::init(ruby, module)?;
    callbacks::init(ruby, module)
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
    if jump::unless_raised(logged)?.is_none() {
        log::error!("{place}: {}; logging it raised an exception, too", jump::class_name(exception));
    }
    Ok(())
}
