//! `[status, headers, body]`: what an app returned, checked and taken apart.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use http::HeaderMap;
use magnus::block::Proc;
use magnus::r_hash::ForEach;
use magnus::rb_sys::AsRawValue;
use magnus::value::ReprValue;
use magnus::{Error, Integer, RArray, RHash, RString, Ruby, Symbol, TryConvert, Value};
use push_core::base::lock::Lock;
use push_core::http::response::add_header;
use push_core::http::{BodyWriter, Responder, Response, files};
use rb_sys::RBasic;

use crate::ruby::body_stream;
use crate::support::classes;
use crate::support::fields::text_of;
use crate::support::gvl::{check_interrupts, without_gvl_for_a_moment};
use crate::support::jump::{inspect, unless_raised};

/// A Rack response whose head is understood.
pub struct AppResponse {
    pub status: i64,
    pub headers: HeaderMap,
    pub body: Value,
    /// `rack.hijack` among the headers: to be called with the socket behind the head.
    pub hijack: Option<Value>,
    /// `rack.protocol` among the headers: the protocol the body speaks.
    pub protocol: Option<String>,
}

/// An app's mistake, to be answered with 500 and logged.
pub fn app_error(ruby: &Ruby, message: impl std::fmt::Display) -> Error {
    Error::new(ruby.exception_type_error(), message.to_string())
}

/// Takes apart what `call` returned.
pub fn parse(ruby: &Ruby, value: Value) -> Result<AppResponse, Error> {
    let Some(parts) = unless_raised(RArray::try_convert(value))?.filter(|parts| parts.len() == 3) else {
        let returned = excerpt(value)?;
        return Err(app_error(ruby, format_args!("the app must return [status, headers, body], not {returned}")));
    };
    let status = status(ruby, parts.entry(0)?)?;
    let mut response =
        AppResponse { status, headers: HeaderMap::new(), body: parts.entry(2)?, hijack: None, protocol: None };
    each_header(ruby, parts.entry(1)?, |key, value| match key {
        b"rack.hijack" => {
            response.hijack = Some(value).filter(|callable| !callable.is_nil());
            Ok(())
        }
        b"rack.protocol" => {
            response.protocol = RString::from_value(value).and_then(text_of);
            Ok(())
        }
        _ => add_field(ruby, &mut response.headers, key, value),
    })?;
    Ok(response)
}

fn status(ruby: &Ruby, value: Value) -> Result<i64, Error> {
    if let Some(number) = unless_raised(Integer::try_convert(value))? {
        return number.to_i64();
    }
    let text = unless_raised(RString::try_convert(value))?.and_then(text_of);
    match text.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(number),
        None => Err(app_error(ruby, format_args!("the status must be an Integer, not {}", excerpt(value)?))),
    }
}

fn excerpt(value: Value) -> Result<String, Error> {
    let text = inspect(value)?;
    let short: String = text.chars().take(80).collect();
    Ok(if short.len() < text.len() { format!("{short}…") } else { short })
}

/// Understands headers in any form Rack allows.
pub fn headers(ruby: &Ruby, value: Value) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    each_header(ruby, value, |key, value| add_field(ruby, &mut map, key, value))?;
    Ok(map)
}

/// Goes through headers; `take` gets a name, and must not call into Ruby as long as it looks at it.
fn each_header(
    ruby: &Ruby,
    headers: Value,
    mut take: impl FnMut(&[u8], Value) -> Result<(), Error>,
) -> Result<(), Error> {
    // Rack 2 asks only for `each`; Rack::Headers and Rack::Utils::HeaderHash are Hashes.
    let hash = match RHash::from_value(headers) {
        Some(hash) => hash,
        None if !headers.is_nil() && headers.respond_to("to_h", false)? => headers.funcall("to_h", ())?,
        None => {
            return Err(app_error(ruby, format_args!("the headers must be a Hash, not {}", excerpt(headers)?)));
        }
    };
    hash.foreach(|key: Value, value: Value| {
        match Symbol::from_value(key) {
            Some(symbol) => take(symbol.name()?.as_bytes(), value)?,
            None => {
                let key = string_of(ruby, key, || "a header name".to_owned())?;
                // SAFETY: see above.
                take(unsafe { key.as_slice() }, value)?;
            }
        }
        Ok(ForEach::Continue)
    })
}

fn add_field(ruby: &Ruby, map: &mut HeaderMap, name: &[u8], value: Value) -> Result<(), Error> {
    // Objects behind rack.* are for the server, and need not be Strings.
    if name.starts_with(b"rack.") {
        return Ok(());
    }
    let mut add = |value: Value| {
        let text = string_of(ruby, value, || format!("the value of header {}", String::from_utf8_lossy(name)))?;
        // SAFETY: nothing calls into Ruby while the slice is read.
        add_header(map, name, unsafe { text.as_slice() }).map_err(|error| app_error(ruby, error))
    };
    match RArray::from_value(value) {
        Some(values) => (0..values.len()).try_for_each(|index| add(values.entry(index as isize)?)),
        None => add(value),
    }
}

fn string_of(ruby: &Ruby, value: Value, what: impl FnOnce() -> String) -> Result<RString, Error> {
    match RString::from_value(value) {
        Some(string) => Ok(string),
        None => Err(app_error(ruby, format_args!("{} must be a String, not {}", what(), excerpt(value)?))),
    }
}

/// A copy of a String's bytes.
fn bytes_of(ruby: &Ruby, value: Value, what: &str) -> Result<Bytes, Error> {
    let string = string_of(ruby, value, || what.to_owned())?;
    // SAFETY: copied before anything else runs.
    Ok(Bytes::copy_from_slice(unsafe { string.as_slice() }))
}

/// How a body is to be sent.
pub enum BodyKind {
    /// All at once, in one piece.
    Whole(Bytes),
    /// All at once.
    Parts(VecDeque<Bytes>),
    /// From a file, without Ruby.
    File { file: File, length: u64 },
    /// By calling `each`.
    Each,
    /// By calling it with a stream.
    Call,
}

impl BodyKind {
    /// Whether it is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        match self {
            BodyKind::Whole(bytes) => bytes.is_empty(),
            BodyKind::Parts(parts) => parts.iter().all(Bytes::is_empty),
            _ => false,
        }
    }
}

/// Whether `body` is an Array without methods of its own: it has nothing to close.
pub fn is_plain_array(ruby: &Ruby, body: Value) -> bool {
    let array = RArray::from_value(body).map(|array| array.as_raw() as *const RBasic);
    // SAFETY: an Array is on the heap, and begins with what all objects begin with.
    array.is_some_and(|array| unsafe { (*array).klass } == ruby.class_array().as_raw())
}

/// Looks at a body. An Array, or what turns into one, is taken whole; `to_ary` closes the body
/// then, as Rack has it: the second value says so.
pub fn body_kind(ruby: &Ruby, body: Value, response: &Response) -> Result<(BodyKind, bool), Error> {
    if let Some(array) = RArray::from_value(body) {
        return Ok((parts(ruby, array)?, false));
    }
    if let Some(file) = file_of(ruby, body, response)? {
        return Ok((file, false));
    }
    if body.respond_to("to_ary", false)? {
        let array: Value = body.funcall("to_ary", ())?;
        // By Ruby's rules, nil means that it is no Array after all. The bodies of Rails return it up to 7.0.
        if !array.is_nil() {
            let array =
                RArray::from_value(array).ok_or_else(|| app_error(ruby, "the body's to_ary must return an Array"))?;
            return Ok((parts(ruby, array)?, classes::to_ary_closes(ruby)?));
        }
    }
    // Rack 3 SPEC: what responds to both is enumerable.
    if body.respond_to("each", false)? {
        return Ok((BodyKind::Each, false));
    }
    if body.respond_to("call", false)? {
        return Ok((BodyKind::Call, false));
    }
    Err(app_error(ruby, format_args!("the body must respond to each or call, not {}", excerpt(body)?)))
}

fn parts(ruby: &Ruby, array: RArray) -> Result<BodyKind, Error> {
    let part = |index: usize| bytes_of(ruby, array.entry(index as isize)?, "a part of the body");
    match array.len() {
        0 => Ok(BodyKind::Whole(Bytes::new())),
        1 => part(0).map(BodyKind::Whole),
        count => (0..count).map(part).collect::<Result<_, _>>().map(BodyKind::Parts),
    }
}

/// The file behind a body's `to_path`, if it is what the response says that it sends. A part of a file, or something else
/// than a file, is for `each`; so is a file whose length is not known.
fn file_of(ruby: &Ruby, body: Value, response: &Response) -> Result<Option<BodyKind>, Error> {
    if !body.respond_to("to_path", false)? {
        return Ok(None);
    }
    let path: Value = body.funcall("to_path", ())?;
    let Some(path) = RString::from_value(path) else { return Ok(None) };
    // SAFETY: copied before anything else runs.
    let path = PathBuf::from(OsStr::from_bytes(unsafe { path.as_slice() }));
    let opened = loop {
        // The disk may be slow: other threads run meanwhile.
        match without_gvl_for_a_moment(ruby, || files::open_regular(&path)) {
            Some(opened) => break opened,
            None => check_interrupts(ruby)?,
        }
    };
    Ok(match opened {
        Some((file, length)) if response.length().is_none_or(|said| said == length) => {
            Some(BodyKind::File { length, file })
        }
        _ => None,
    })
}

/// Raised inside a body whose client is gone, so that it ends.
pub fn disconnected_error(ruby: &Ruby) -> Error {
    match classes::disconnected(ruby) {
        Ok(class) => Error::new(class, "the client is gone"),
        Err(error) => error,
    }
}

/// Whether `error` only says that the client went away.
pub fn disconnected(ruby: &Ruby, error: &Error) -> bool {
    classes::disconnected(ruby).is_ok_and(|class| error.is_kind_of(class))
}

/// A body that is being sent part by part.
enum Sending {
    /// The head waits for the first part, so that a body that raises before it can still become
    /// a 500.
    Waiting(Box<(Responder, Response)>),
    Open(Arc<BodyWriter>),
    Ended,
}

/// Sends a body by calling its `each`, by way of `each`, with a block. If that fails before anything was sent, the responder
/// comes back with the error; later, the connection is cut.
pub fn send_each(
    ruby: &Ruby,
    each: impl FnOnce(Proc) -> Result<(), Error>,
    responder: Responder,
    response: Response,
) -> Result<(), (Error, Option<Responder>)> {
    // The block is a Ruby object and lives until it is collected; the writer must not.
    let state = Arc::new(Lock::new(Sending::Waiting(Box::new((responder, response)))));
    let shared = Arc::clone(&state);
    let block = ruby.proc_from_fn(move |ruby: &Ruby, parts: &[Value], _| -> Result<(), Error> {
        let part = parts.first().copied().unwrap_or_else(|| ruby.qnil().as_value());
        let part = bytes_of(ruby, part, "a part of the body")?;
        send_part(ruby, &shared, part)
    });
    let result = each(block);
    let ended = std::mem::replace(&mut *lock(&state), Sending::Ended);
    match (result, ended) {
        (Ok(()), Sending::Waiting(waiting)) => {
            let (responder, response) = *waiting;
            responder.respond(response.with_chunks(VecDeque::new()));
        }
        (Ok(()), Sending::Open(writer)) => writer.finish(),
        (Ok(()), Sending::Ended) => {}
        (Err(error), Sending::Waiting(waiting)) => return Err((error, Some(waiting.0))),
        (Err(error), Sending::Open(_) | Sending::Ended) => return Err((error, None)),
    }
    Ok(())
}

fn lock(state: &Lock<Sending>) -> MutexGuard<'_, Sending> {
    state.lock()
}

fn send_part(ruby: &Ruby, state: &Lock<Sending>, part: Bytes) -> Result<(), Error> {
    let writer = {
        let mut state = lock(state);
        let writer = match std::mem::replace(&mut *state, Sending::Ended) {
            Sending::Waiting(waiting) => {
                let (responder, response) = *waiting;
                Arc::new(responder.stream(response))
            }
            Sending::Open(writer) => writer,
            // A block that was kept and called after `each`.
            Sending::Ended => return Err(disconnected_error(ruby)),
        };
        *state = Sending::Open(Arc::clone(&writer));
        writer
    };
    body_stream::push(ruby, &writer, part)
}
