//! Functions of Ruby's C interface, called without a guard around each.
//!
//! magnus guards every call against a raise, because a raise jumps over the frames in between. The functions here raise
//! only if no memory is left. A request makes dozens of such calls, and a guard for each would cost too much: one guard
//! is around all of them.

use std::ffi::c_long;

use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::value::ReprValue;
use magnus::{Error, RHash, Ruby, TryConvert, Value};
use rb_sys::{
    VALUE, rb_ary_new, rb_hash_aset, rb_hash_delete, rb_hash_dup, rb_interned_str, rb_str_cat, rb_str_new,
    rb_utf8_str_new,
};

/// Shows that a guard is in place.
pub struct Guarded(());

/// Calls `make` under a guard. `make` must own nothing that has to be dropped: a raise jumps over its frame.
pub fn guarded(_locked: &Ruby, make: impl FnOnce(&Guarded) -> Value) -> Result<Value, Error> {
    protect(|| make(&Guarded(())).as_raw()).map(value)
}

/// As [`guarded`], for a Hash.
pub fn guarded_hash(locked: &Ruby, make: impl FnOnce(&Guarded) -> Value) -> Result<RHash, Error> {
    guarded(locked, make).and_then(RHash::try_convert)
}

fn value(raw: VALUE) -> Value {
    // SAFETY: a function of Ruby's has returned it.
    unsafe { Value::from_raw(raw) }
}

impl Guarded {
    /// A copy of `hash`, not frozen.
    pub fn dup(&self, hash: RHash) -> Value {
        // SAFETY: it is a Hash; this thread has the GVL, and a guard is in place, as for all functions here.
        value(unsafe { rb_hash_dup(hash.as_raw()) })
    }

    /// Sets `key` in `hash`, which must be a Hash. Ruby copies a String that is a key unless it is frozen.
    pub fn set(&self, hash: Value, key: impl ReprValue, value: impl ReprValue) {
        // SAFETY: as above.
        unsafe { rb_hash_aset(hash.as_raw(), key.as_raw(), value.as_raw()) };
    }

    /// Removes `key` from `hash`, which must be a Hash.
    pub fn delete(&self, hash: Value, key: impl ReprValue) {
        // SAFETY: as above.
        unsafe { rb_hash_delete(hash.as_raw(), key.as_raw()) };
    }

    /// A new string, ASCII-8BIT.
    pub fn binary(&self, bytes: &[u8]) -> Value {
        // SAFETY: as above; Ruby copies the bytes.
        value(unsafe { rb_str_new(bytes.as_ptr().cast(), bytes.len() as c_long) })
    }

    /// A new string of UTF-8.
    pub fn text(&self, bytes: &[u8]) -> Value {
        // SAFETY: as above.
        value(unsafe { rb_utf8_str_new(bytes.as_ptr().cast(), bytes.len() as c_long) })
    }

    /// Appends to `string`, which must be a String that is not frozen.
    pub fn append(&self, string: Value, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { rb_str_cat(string.as_raw(), bytes.as_ptr().cast(), bytes.len() as c_long) };
    }

    /// The interned string of these bytes: frozen, and always the same object.
    pub fn interned(&self, bytes: &[u8]) -> Value {
        // SAFETY: as above.
        value(unsafe { rb_interned_str(bytes.as_ptr().cast(), bytes.len() as c_long) })
    }

    /// A new empty Array.
    pub fn array(&self) -> Value {
        // SAFETY: as above.
        value(unsafe { rb_ary_new() })
    }
}
