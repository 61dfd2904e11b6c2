//! `[status, headers, body]`: what an app returned, checked and taken apart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use magnus::r_hash::ForEach;
use magnus::value::{Lazy, ReprValue};
use magnus::{Error, ExceptionClass, Integer, Module, RArray, RHash, RString, Ruby, Symbol, TryConvert, Value};
use push_core::http::response::add_header;
use push_core::http::{BodyWriter, Pushed, Responder, Response};

use crate::gvl::{check_interrupts, without_gvl};

/// A Rack response whose head is understood.
pub struct AppResponse {
    pub status: i64,
    pub headers: HeaderMap,
    pub body: Value,
}

/// An app's mistake, to be answered with 500 and logged.
pub fn app_error(ruby: &Ruby, message: impl std::fmt::Display) -> Error {
    Error::new(ruby.exception_type_error(), message.to_string())
}

/// Takes apart what `call` returned.
pub fn parse(ruby: &Ruby, value: Value) -> Result<AppResponse, Error> {
    let parts = RArray::try_convert(value).ok().filter(|parts| parts.len() == 3).ok_or_else(|| {
        app_error(ruby, format_args!("the app must return [status, headers, body], not {}", excerpt(value)))
    })?;
    let status: Value = parts.entry(0)?;
    let status = match Integer::try_convert(status) {
        Ok(number) => number.to_i64()?,
        Err(_) => RString::try_convert(status)
            .ok()
            .and_then(|text| text.to_string().ok()?.parse().ok())
            .ok_or_else(|| app_error(ruby, format_args!("the status must be an Integer, not {}", excerpt(status))))?,
    };
    let headers = headers(ruby, parts.entry(1)?)?;
    Ok(AppResponse { status, headers, body: parts.entry(2)? })
}

fn excerpt(value: Value) -> String {
    let text = value.inspect();
    let short: String = text.chars().take(80).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

fn headers(ruby: &Ruby, value: Value) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    // Rack 2 asks only for `each`; Rack::Headers and Rack::Utils::HeaderHash are Hashes.
    let hash = match RHash::from_value(value) {
        Some(hash) => hash,
        None if !value.is_nil() && value.respond_to("to_h", false)? => value.funcall("to_h", ())?,
        None => return Err(app_error(ruby, format_args!("the headers must be a Hash, not {}", excerpt(value)))),
    };
    hash.foreach(|key: Value, value: Value| {
        add_field(ruby, &mut map, key, value)?;
        Ok(ForEach::Continue)
    })?;
    Ok(map)
}

fn add_field(ruby: &Ruby, map: &mut HeaderMap, key: Value, value: Value) -> Result<(), Error> {
    let name = match Symbol::from_value(key) {
        Some(symbol) => symbol.name()?.as_bytes().to_vec(),
        None => bytes_of(ruby, key, "a header name")?.to_vec(),
    };
    // Objects behind rack.* are for the server, and need not be Strings.
    if name.starts_with(b"rack.") {
        return Ok(());
    }
    let mut add = |value: Value| {
        let text = bytes_of(ruby, value, &format!("the value of header {}", String::from_utf8_lossy(&name)))?;
        add_header(map, &name, &text).map_err(|error| app_error(ruby, error))
    };
    match RArray::from_value(value) {
        Some(values) => (0..values.len()).try_for_each(|index| add(values.entry(index as isize)?)),
        None => add(value),
    }
}

/// A copy of a String's bytes.
fn bytes_of(ruby: &Ruby, value: Value, what: &str) -> Result<Bytes, Error> {
    let string = RString::from_value(value)
        .ok_or_else(|| app_error(ruby, format_args!("{what} must be a String, not {}", excerpt(value))))?;
    // SAFETY: copied before anything else runs.
    Ok(Bytes::copy_from_slice(unsafe { string.as_slice() }))
}

/// How a body is to be sent.
pub enum BodyKind {
    /// All at once.
    Whole(VecDeque<Bytes>),
    /// By calling `each`.
    Each,
}

/// Looks at a body that will be sent. An Array, or what turns into one, is taken whole; it is
/// closed by `to_ary` then, as Rack has it.
pub fn body_kind(ruby: &Ruby, body: Value) -> Result<(BodyKind, bool), Error> {
    let (array, closed) = match RArray::from_value(body) {
        Some(array) => (array, false),
        None if body.respond_to("to_ary", false)? => {
            let array: Value = body.funcall("to_ary", ())?;
            let array =
                RArray::from_value(array).ok_or_else(|| app_error(ruby, "the body's to_ary must return an Array"))?;
            (array, true)
        }
        None if body.respond_to("each", false)? => return Ok((BodyKind::Each, false)),
        None => {
            return Err(app_error(ruby, format_args!("the body must respond to each, not {}", excerpt(body))));
        }
    };
    let chunks = (0..array.len()).map(|index| bytes_of(ruby, array.entry(index as isize)?, "a part of the body"));
    Ok((BodyKind::Whole(chunks.collect::<Result<_, _>>()?), closed))
}

/// Raised inside a body whose client is gone, so that it ends.
static DISCONNECTED: Lazy<ExceptionClass> = Lazy::new(|ruby| {
    let class = crate::module(ruby).and_then(|module| module.const_get("Disconnected"));
    class.unwrap_or_else(|_| ruby.exception_io_error())
});

/// Whether `error` only says that the client went away.
pub fn disconnected(ruby: &Ruby, error: &Error) -> bool {
    error.is_kind_of(ruby.get_inner(&DISCONNECTED))
}

/// A body that is being sent part by part.
enum Sending {
    /// The head waits for the first part, so that a body that raises before it can still become
    /// a 500.
    Waiting(Responder, Response),
    Open(Arc<BodyWriter>),
    Ended,
}

/// Sends a body by calling its `each`. If that fails before anything was sent, the responder
/// comes back with the error; later, the connection is cut.
pub fn send_each(
    ruby: &Ruby,
    body: Value,
    responder: Responder,
    response: Response,
) -> Result<(), (Error, Option<Responder>)> {
    // The block is a Ruby object and lives until it is collected; the writer must not.
    let state = Arc::new(Mutex::new(Sending::Waiting(responder, response)));
    let shared = Arc::clone(&state);
    let block = ruby.proc_from_fn(move |ruby: &Ruby, parts: &[Value], _| -> Result<(), Error> {
        let part = parts.first().copied().unwrap_or_else(|| ruby.qnil().as_value());
        let part = bytes_of(ruby, part, "a part of the body")?;
        send_part(ruby, &shared, part)
    });
    let result: Result<Value, Error> = body.funcall_with_block("each", (), block);
    let ended = std::mem::replace(&mut *lock(&state), Sending::Ended);
    match (result, ended) {
        (Ok(_), Sending::Waiting(responder, response)) => {
            responder.respond(response.with_chunks(VecDeque::new()));
        }
        (Ok(_), Sending::Open(writer)) => writer.finish(),
        (Ok(_), Sending::Ended) => {}
        (Err(error), Sending::Waiting(responder, _)) => return Err((error, Some(responder))),
        (Err(error), Sending::Open(_) | Sending::Ended) => return Err((error, None)),
    }
    Ok(())
}

fn lock(state: &Mutex<Sending>) -> MutexGuard<'_, Sending> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send_part(ruby: &Ruby, state: &Mutex<Sending>, part: Bytes) -> Result<(), Error> {
    let gone = || Error::new(ruby.get_inner(&DISCONNECTED), "the client is gone");
    let writer = {
        let mut state = lock(state);
        let writer = match std::mem::replace(&mut *state, Sending::Ended) {
            Sending::Waiting(responder, response) => {
                let (writer, response) = response.with_stream();
                responder.respond(response);
                Arc::new(writer)
            }
            Sending::Open(writer) => writer,
            // A block that was kept and called after `each`.
            Sending::Ended => return Err(gone()),
        };
        *state = Sending::Open(Arc::clone(&writer));
        writer
    };
    match writer.push(part) {
        Pushed::Room => Ok(()),
        Pushed::Gone => Err(gone()),
        Pushed::Full => {
            without_gvl(ruby, || writer.wait_for_room(), || writer.interrupt());
            check_interrupts(ruby)
        }
    }
}
