//! The body that an app returned, and how it is sent. The errors are a `TypeError`, or what the app's objects raise.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bytes::Bytes;
use magnus::rb_sys::AsRawValue;
use magnus::value::ReprValue;
use magnus::{Error, RArray, RString, Ruby, Value};
use push_core::http::{Response, files};
use rb_sys::RBasic;

use crate::support::classes;
use crate::support::errors::{excerpt, type_error};
use crate::support::fields::require_string;
use crate::support::gvl::{check_interrupts, without_gvl_for_a_moment};

/// A copy of the bytes of a String that is a part of a body.
pub fn part_of_body(ruby: &Ruby, value: Value) -> Result<Bytes, Error> {
    let string = require_string(ruby, value, || "a part of the body".to_owned())?;
    // SAFETY: copied before anything else runs.
    Ok(Bytes::copy_from_slice(unsafe { string.as_slice() }))
}

/// Bodies of several parts are joined up to this length. The core copies a body of one piece behind its head anyway, if it is
/// not longer than this.
const JOINED: usize = 16 * 1024;

/// How a body is sent.
pub enum BodyKind {
    /// At once, in one piece.
    Whole(Bytes),
    /// At once, in several pieces.
    Parts(VecDeque<Bytes>),
    /// From a file, without Ruby.
    File { file: File, length: u64 },
    /// By calling `each`.
    Each,
    /// By calling it with a stream.
    Call,
}

impl BodyKind {
    /// Whether the body is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        match self {
            BodyKind::Whole(bytes) => bytes.is_empty(),
            BodyKind::Parts(parts) => parts.iter().all(Bytes::is_empty),
            _ => false,
        }
    }
}

/// Whether `body` is an Array without methods of its own, so that there is nothing to close.
pub fn is_plain_array(ruby: &Ruby, body: Value) -> bool {
    let array = RArray::from_value(body).map(|array| array.as_raw() as *const RBasic);
    // SAFETY: an Array is on the heap, and begins with an `RBasic` as every object on the heap.
    array.is_some_and(|array| unsafe { (*array).klass } == ruby.class_array().as_raw())
}

/// Decides how a body is sent. The second value says whether the body has been closed: by its `to_ary`, as Rack 3
/// requires.
pub fn body_kind(ruby: &Ruby, body: Value, response: &Response) -> Result<(BodyKind, bool), Error> {
    if let Some(array) = RArray::from_value(body) {
        return Ok((parts(ruby, array)?, false));
    }
    if let Some(file) = file_of(ruby, body, response)? {
        return Ok((file, false));
    }
    if body.respond_to("to_ary", false)? {
        let array: Value = body.funcall("to_ary", ())?;
        // By Ruby's rules, nil means that the object is no Array after all. The bodies of Rails up to 7.0 return nil.
        if !array.is_nil() {
            let array =
                RArray::from_value(array).ok_or_else(|| type_error(ruby, "the body's to_ary must return an Array"))?;
            return Ok((parts(ruby, array)?, classes::to_ary_closes(ruby)?));
        }
    }
    // A body that responds to both is enumerable (Rack 3 SPEC).
    if body.respond_to("each", false)? {
        return Ok((BodyKind::Each, false));
    }
    if body.respond_to("call", false)? {
        return Ok((BodyKind::Call, false));
    }
    Err(type_error(ruby, format_args!("the body must respond to each or call, not {}", excerpt(body)?)))
}

fn parts(ruby: &Ruby, array: RArray) -> Result<BodyKind, Error> {
    let part = |index: usize| part_of_body(ruby, array.entry(index as isize)?);
    match array.len() {
        0 => Ok(BodyKind::Whole(Bytes::new())),
        1 => part(0).map(BodyKind::Whole),
        count => match joined(array, count) {
            Some(joined) => Ok(BodyKind::Whole(joined)),
            None => (0..count).map(part).collect::<Result<_, _>>().map(BodyKind::Parts),
        },
    }
}

/// Parts that are short together, in one piece: that costs one allocation in place of one for each. `None` if they are long,
/// or not all of them are Strings.
fn joined(array: RArray, count: usize) -> Option<Bytes> {
    let strings = || (0..count).map(|index| RString::from_value(array.entry::<Value>(index as isize).ok()?));
    let length = strings().try_fold(0, |length, string| Some(length + string?.len()))?;
    if length > JOINED {
        return None;
    }
    let mut bytes = Vec::with_capacity(length);
    for string in strings() {
        let string = string?;
        // SAFETY: copied before anything else runs.
        bytes.extend_from_slice(unsafe { string.as_slice() });
    }
    Some(Bytes::from(bytes))
}

/// The file that a body's `to_path` names. `None` if the file cannot be sent in place of the body: if it is no regular
/// file, or if the response has another length than the file, because it sends a part. Releases the GVL while it opens
/// the file.
fn file_of(ruby: &Ruby, body: Value, response: &Response) -> Result<Option<BodyKind>, Error> {
    if !body.respond_to("to_path", false)? {
        return Ok(None);
    }
    let path: Value = body.funcall("to_path", ())?;
    let Some(path) = RString::from_value(path) else { return Ok(None) };
    // SAFETY: copied before anything else runs.
    let path = PathBuf::from(OsStr::from_bytes(unsafe { path.as_slice() }));
    let opened = loop {
        // The disk may be slow. Other threads run meanwhile.
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
