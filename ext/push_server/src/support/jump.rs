//! What ends a thread, or a call, without being an exception: `Thread#kill`, `throw`.
//!
//! Ruby calls it a jump; magnus has it as an [`Error`] without a value. It must be returned until it is back in Ruby,
//! wherever it arrived, and until then nothing of Ruby may be called, not even to log: a thread that has swallowed it
//! cannot be killed any more, and the next exception that magnus rescues on it jumps over our frames.
//!
//! So no result of a call of Ruby code may be dropped. Some functions of magnus do that: `clippy.toml` forbids them, and
//! the functions here replace them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use magnus::error::ErrorType;
use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::value::ReprValue;
use magnus::{Error, RHash, RString, Value};
use rb_sys::{Qnil, Qundef, rb_hash_lookup2, rb_inspect};

/// Whether `error` is no exception, but ends the thread.
pub fn is_jump(error: &Error) -> bool {
    matches!(error.error_type(), ErrorType::Jump(_))
}

/// The result of a call whose exception does not matter: `None` if it raises one.
pub fn unless_raised<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_jump(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Calls `work`. A raise that no guard inside has caught, so that it jumps over the frames of `work`, ends here.
pub fn contained(work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let mut done = None;
    protect(|| {
        // A panic must not unwind through Ruby's frames.
        done = Some(catch_unwind(AssertUnwindSafe(work)));
        Qnil.into()
    })?;
    done.map_or(Ok(()), |done| done.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// What `inspect` says, in UTF-8; the name of the class if that raises.
pub fn inspect(value: Value) -> Result<String, Error> {
    // SAFETY: called with the lock, and protected.
    let inspected = unless_raised(protect(|| unsafe { rb_inspect(value.as_raw()) }))?;
    let string = inspected.and_then(|raw| {
        // SAFETY: what a function of Ruby's returned.
        RString::from_value(unsafe { Value::from_raw(raw) })
    });
    Ok(string.map_or_else(
        || class_name(value),
        // SAFETY: copied before anything else runs.
        |string| String::from_utf8_lossy(unsafe { string.as_slice() }).into_owned(),
    ))
}

/// The name of a value's class. Calls no Ruby code.
pub fn class_name(value: Value) -> String {
    // SAFETY: copied before anything else runs.
    unsafe { value.classname() }.into_owned()
}

/// What a Hash has for a key, without its default. An error if the key's `hash` or `eql?` raises.
pub fn lookup(hash: RHash, key: impl ReprValue) -> Result<Option<Value>, Error> {
    // SAFETY: called with the lock, and protected. What it returns if there is no such key is no VALUE, and is only
    // compared.
    let found = protect(|| unsafe { rb_hash_lookup2(hash.as_raw(), key.as_raw(), Qundef.into()) })?;
    // SAFETY: what a function of Ruby's returned.
    Ok(if found == Qundef.into() { None } else { Some(unsafe { Value::from_raw(found) }) })
}
