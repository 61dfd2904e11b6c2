//! All that this extension names in `lib/`: the constants of `PushServer`, and the methods that it calls on them.
//!
//! Ruby's half calls this extension; these are the calls in the other direction. Each is a function of this file, so
//! that the table is complete. `spec/unit/library_spec.rb` checks that: the table has the names in this file and no
//! others, every name exists in `lib/`, and no other file of this extension names one.
//!
//! | Constant | Methods | Purpose |
//! |---|---|---|
//! | `PushServer` | `log_exception` | log an exception that nothing rescued |
//! | `PushServer::Error` | | refuse what the state of the server does not allow |
//! | `PushServer::EngineUnavailable` | | say that messages get no numbers |
//! | `PushServer::Outside` | `route` | ask where a process without a server publishes |
//! | `PushServer::Disconnected` | | end a body whose client is gone |
//! | `PushServer::SpooledInput` | `new`, `hold`, `close` | `rack.input` of a body that is in a file |
//! | `PushServer::ClientCertificate` | `add` | what an env has of a client's certificate |
//! | `PushServer::Bodies` | `run`, `finish`, `fail` | end a response where only Ruby's `ensure` is left |
//!
//! All functions are called with the GVL. An error that is a jump must be returned to Ruby, see
//! [`crate::support::jump`].

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use magnus::block::Proc;
use magnus::value::{Opaque, ReprValue};
use magnus::{
    Class, Error, ExceptionClass, IntoValue, Module, RArray, RClass, RHash, RModule, RString, Ruby, Symbol, TryConvert,
    Value,
};

use crate::support::jump::{class_name, unless_raised};
use crate::support::pinned::pinned;

static CONSTANTS: OnceLock<Constants> = OnceLock::new();

/// What requests need. Looked up before any app thread runs, for the reason in [`crate::support::classes`].
#[derive(Clone, Copy)]
struct Constants {
    disconnected: Opaque<ExceptionClass>,
    spooled_input: Opaque<RClass>,
    bodies: Opaque<RModule>,
}

/// Looks the constants up. Called when a server is made, with all of `lib/` loaded. The error is what a look-up raised.
pub fn load(ruby: &Ruby) -> Result<(), Error> {
    // Another server was made before: the constants are the same.
    if CONSTANTS.get().is_some() {
        return Ok(());
    }
    let module = push_server(ruby)?;
    let constants = Constants {
        disconnected: pinned(ruby, module.const_get("Disconnected")?),
        spooled_input: pinned(ruby, module.const_get("SpooledInput")?),
        bodies: pinned(ruby, module.const_get("Bodies")?),
    };
    // An error means that another thread has set it meanwhile.
    let _ = CONSTANTS.set(constants);
    Ok(())
}

fn get(ruby: &Ruby) -> Result<Constants, Error> {
    let missing = || Error::new(ruby.exception_runtime_error(), "push_server: no server was made yet");
    CONSTANTS.get().copied().ok_or_else(missing)
}

fn push_server(ruby: &Ruby) -> Result<RModule, Error> {
    ruby.class_object().const_get("PushServer")
}

/// Logs an exception that nothing rescued: one line that says where, then class, message and backtrace. The error must
/// end this thread.
pub fn log_exception(ruby: &Ruby, place: &str, exception: Value) -> Result<(), Error> {
    let logged = push_server(ruby).and_then(|it| it.funcall::<_, _, Value>("log_exception", (place, exception)));
    if unless_raised(logged)?.is_none() {
        log::error!("{place}: {}; logging it raised an exception, too", class_name(exception));
    }
    Ok(())
}

/// Adds a client's certificate, in the format DER, to the env of its request. The error is what Ruby raised.
pub fn add_client_certificate(ruby: &Ruby, env: RHash, certificate: &[u8]) -> Result<(), Error> {
    let module = push_server(ruby)?.const_get::<_, RModule>("ClientCertificate")?;
    module.funcall::<_, _, Value>("add", (env, ruby.str_from_slice(certificate))).map(|_| ())
}

/// A `PushServer::Error`; a jump if looking the class up ended the thread. Works without a server, too.
pub fn server_error(ruby: &Ruby, message: &str) -> Error {
    let class = push_server(ruby).and_then(|it| it.const_get::<_, ExceptionClass>("Error"));
    exception(ruby, class, message)
}

/// A `PushServer::EngineUnavailable`, as [`server_error`].
pub fn engine_error(ruby: &Ruby, message: &str) -> Error {
    let class = push_server(ruby).and_then(|it| it.const_get::<_, ExceptionClass>("EngineUnavailable"));
    exception(ruby, class, message)
}

fn exception(ruby: &Ruby, class: Result<ExceptionClass, Error>, message: &str) -> Error {
    match unless_raised(class) {
        Ok(class) => Error::new(class.unwrap_or_else(|| ruby.exception_runtime_error()), message.to_owned()),
        Err(jump) => jump,
    }
}

/// Where a process without a server publishes: the paths of sockets, and how many seconds it waits. `None`: in this process.
/// The error is what Ruby raised.
pub fn outside_route(ruby: &Ruby) -> Result<Option<(Vec<PathBuf>, f64)>, Error> {
    let outside = push_server(ruby)?.const_get::<_, RModule>("Outside")?;
    let route: Option<(RArray, f64)> = outside.funcall("route", ())?;
    let Some((paths, seconds)) = route else { return Ok(None) };
    let paths = paths.into_iter().map(|path| {
        let path = RString::try_convert(path)?;
        // SAFETY: the bytes are copied at once.
        Ok(PathBuf::from(OsStr::from_bytes(unsafe { path.as_slice() })))
    });
    Ok(Some((paths.collect::<Result<_, Error>>()?, seconds)))
}

/// The `PushServer::Disconnected` that ends a body whose client is gone.
pub fn disconnected_error(ruby: &Ruby) -> Error {
    match get(ruby) {
        Ok(constants) => Error::new(ruby.get_inner(constants.disconnected), "the client is gone"),
        Err(error) => error,
    }
}

/// Whether `error` only says that the client is gone.
pub fn is_disconnected(ruby: &Ruby, error: &Error) -> bool {
    get(ruby).is_ok_and(|constants| error.is_kind_of(ruby.get_inner(constants.disconnected)))
}

/// A new `PushServer::SpooledInput`, which owns `descriptor` if this is no error.
pub fn spooled_input(ruby: &Ruby, descriptor: RawFd) -> Result<Value, Error> {
    let class = ruby.get_inner(get(ruby)?.spooled_input);
    class.new_instance((descriptor, "r+b"))
}

/// Tells a `PushServer::SpooledInput` its size in bytes, and its reservation: an object with `release` and `share`.
pub fn hold_spooled_input(input: Value, size: u64, reservation: impl IntoValue) -> Result<(), Error> {
    input.funcall::<_, _, Value>("hold", (size, reservation)).map(|_| ())
}

/// Closes `input` if it is a `PushServer::SpooledInput`, not what the app has put in its place.
pub fn close_spooled_input(ruby: &Ruby, input: Value) -> Result<(), Error> {
    if !input.is_kind_of(ruby.get_inner(get(ruby)?.spooled_input)) {
        return Ok(());
    }
    input.funcall::<_, _, Value>("close", ()).map(|_| ())
}

/// A response as the methods of `PushServer::Bodies` take it, in this order. It lives on the stack, where the garbage
/// collector sees its VALUEs.
pub struct ResponseArguments {
    /// To be closed.
    pub body: Option<Value>,
    /// The request line, for the log.
    pub line: String,
    pub env: RHash,
    pub status: Option<i64>,
    pub headers: Option<Value>,
}

/// Calls `target.each(&block)`, or `target.call(argument)` if there is no block. If this ends the thread, the response
/// has been ended.
pub fn run_body(
    ruby: &Ruby,
    (target, method, argument, block): (Value, Symbol, Value, Option<Proc>),
    response: ResponseArguments,
) -> Result<(), Error> {
    let ResponseArguments { body, line, env, status, headers } = response;
    let arguments = (target, method, argument, block, body, line, env, status, headers);
    bodies(ruby)?.funcall::<_, _, Value>("run", arguments).map(|_| ())
}

/// Closes a response's body, and calls what is in its `rack.response_finished`.
pub fn finish_response(ruby: &Ruby, response: ResponseArguments) -> Result<(), Error> {
    let ResponseArguments { body, line, env, status, headers } = response;
    bodies(ruby)?.funcall::<_, _, Value>("finish", (body, line, env, status, headers, ruby.qnil())).map(|_| ())
}

/// Logs `exception` if `logged`, and finishes the response if `ends`: in one call of Ruby, so that a thread that is
/// killed while it logs still finishes the response.
pub fn fail_response(
    ruby: &Ruby,
    exception: Value,
    logged: bool,
    ends: bool,
    response: ResponseArguments,
) -> Result<(), Error> {
    let ResponseArguments { body, line, env, status, headers } = response;
    let arguments = (exception, logged, ends, body, line, env, status, headers);
    bodies(ruby)?.funcall::<_, _, Value>("fail", arguments).map(|_| ())
}

fn bodies(ruby: &Ruby) -> Result<RModule, Error> {
    get(ruby).map(|constants| ruby.get_inner(constants.bodies))
}
