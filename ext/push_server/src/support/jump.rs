//! Jumps: what ends a thread, or a call, without being an exception: `Thread#kill`, `throw`.
//!
//! magnus has a jump as an [`Error`] without a value. Each function must return such an error to its caller, until it
//! is back in Ruby. Until then nothing of Ruby may be called, not even to log. A thread that has dropped a jump cannot
//! be killed any more, and the next exception that magnus rescues on that thread jumps over our frames.
//!
//! So no result of a call of Ruby code may be dropped. Some functions of magnus drop it: `clippy.toml` forbids them,
//! and the functions here replace them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use magnus::error::ErrorType;
use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::value::ReprValue;
use magnus::{Error, RHash, RString, Value};
use rb_sys::{Qnil, Qundef, rb_hash_lookup2, rb_inspect};

/// Whether `error` is a jump and no exception.
pub fn is_jump(error: &Error) -> bool {
    matches!(error.error_type(), ErrorType::Jump(_))
}

/// The result of a call whose exception does not matter: `None` if the call raised one. The error is a jump.
pub fn unless_raised<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_jump(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Calls `work`, and catches what raises in it without a guard of its own. Such a raise jumps over the frames of
/// `work`.
pub fn contained(work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let mut done = None;
    protect(|| {
        // A panic must not unwind through Ruby's frames.
        done = Some(catch_unwind(AssertUnwindSafe(work)));
        Qnil.into()
    })?;
    done.map_or(Ok(()), |done| done.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// What a value's `inspect` returns, in UTF-8; the name of its class if that raises. The error is a jump.
pub fn inspect(value: Value) -> Result<String, Error> {
    // SAFETY: called with the GVL, and protected.
    let inspected = unless_raised(protect(|| unsafe { rb_inspect(value.as_raw()) }))?;
    let string = inspected.and_then(|raw| {
        // SAFETY: a function of Ruby's has returned it.
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

/// The value of a key in a Hash; its default is not used. The error is what the key's `hash` or `eql?` raises.
pub fn lookup(hash: RHash, key: impl ReprValue) -> Result<Option<Value>, Error> {
    // SAFETY: called with the GVL, and protected. What it returns for a missing key is no VALUE, and is only compared.
    let found = protect(|| unsafe { rb_hash_lookup2(hash.as_raw(), key.as_raw(), Qundef.into()) })?;
    // SAFETY: a function of Ruby's has returned it.
    Ok(if found == Qundef.into() { None } else { Some(unsafe { Value::from_raw(found) }) })
}
