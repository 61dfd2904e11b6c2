//! The body that an app returned: how it is to be sent. All is called with the GVL, and may call Ruby code.

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
                RArray::from_value(array).ok_or_else(|| type_error(ruby, "the body's to_ary must return an Array"))?;
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
    Err(type_error(ruby, format_args!("the body must respond to each or call, not {}", excerpt(body)?)))
}

fn parts(ruby: &Ruby, array: RArray) -> Result<BodyKind, Error> {
    let part = |index: usize| part_of_body(ruby, array.entry(index as isize)?);
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
