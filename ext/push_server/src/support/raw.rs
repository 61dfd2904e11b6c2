//! Functions of Ruby's C interface, called without a guard around each.
//!
//! magnus guards every call against a raise, because a raise jumps over the frames in between. The functions here raise
//! only if no memory is left. A request makes dozens of such calls, and a guard for each would cost too much: one guard
//! is around all of them.

use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice::Iter;

use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::value::ReprValue;
use magnus::{Error, RHash, Ruby, TryConvert, Value};
use rb_sys::{
    Qnil, VALUE, rb_ary_new, rb_hash_aset, rb_hash_delete, rb_hash_dup, rb_hash_new, rb_hash_size_num, rb_hash_tbl,
    rb_hash_update_by, rb_interned_str, rb_st_foreach_with_replace, rb_str_cat, rb_str_new, rb_str_to_interned_str,
    rb_utf8_str_new, st_data_t, st_retval,
};

/// Shows that a guard is in place.
pub struct Guarded(());

/// How many [`Entries`] the arrays have room for. Most requests have fewer.
const IN_ARRAYS: usize = 64;

/// Entries for a Hash. They must live on the stack, where the garbage collector sees them.
pub struct Entries {
    keys: [MaybeUninit<VALUE>; IN_ARRAYS],
    values: [MaybeUninit<VALUE>; IN_ARRAYS],
    length: usize,
    /// A Hash of those that the arrays have no room for.
    rest: Option<Value>,
}

impl Entries {
    /// No entries.
    pub fn new() -> Self {
        let nothing = [const { MaybeUninit::uninit() }; IN_ARRAYS];
        Entries { keys: nothing, values: nothing, length: 0, rest: None }
    }

    /// The keys, in the order in which they were added. `None` if there are too many.
    pub fn keys(&self) -> Option<&[VALUE]> {
        if self.rest.is_none() { Some(self.written(&self.keys)) } else { None }
    }

    fn written<'a>(&self, array: &'a [MaybeUninit<VALUE>; IN_ARRAYS]) -> &'a [VALUE] {
        // SAFETY: so many were written, and a slot has the layout of its content.
        unsafe { std::slice::from_raw_parts(array.as_ptr().cast(), self.length) }
    }
}

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

    /// Adds an entry. The key must be interned.
    pub fn add(&self, entries: &mut Entries, key: impl ReprValue, value: impl ReprValue) {
        if entries.length == IN_ARRAYS {
            self.set(*entries.rest.get_or_insert_with(|| self.hash()), key, value);
            return;
        }
        entries.keys[entries.length].write(key.as_raw());
        entries.values[entries.length].write(value.as_raw());
        entries.length += 1;
    }

    /// Sets all entries in `hash`, which must be a Hash.
    pub fn set_all(&self, hash: Value, entries: &Entries) {
        for (key, value) in entries.written(&entries.keys).iter().zip(entries.written(&entries.values)) {
            // SAFETY: as above.
            unsafe { rb_hash_aset(hash.as_raw(), *key, *value) };
        }
        if let Some(rest) = entries.rest {
            self.merge(hash, rest);
        }
    }

    /// Replaces the values of the first entries of `hash`, which must have the keys of `entries` in the same order. Nothing
    /// else may refer to `hash` yet.
    pub fn replace_first(&self, hash: Value, entries: &Entries) {
        unsafe extern "C" fn each(_: st_data_t, _: st_data_t, _: st_data_t, _: c_int) -> c_int {
            st_retval::ST_REPLACE as c_int
        }
        unsafe extern "C" fn replace(_: *mut st_data_t, value: *mut st_data_t, left: st_data_t, _: c_int) -> c_int {
            // SAFETY: `replace_first` passes its iterator, and Ruby the place of the value.
            let (left, value) = unsafe { (&mut *(left as *mut Iter<'_, VALUE>), &mut *value) };
            if let Some(next) = left.next() {
                *value = *next as st_data_t;
            }
            let next = if left.len() == 0 { st_retval::ST_STOP } else { st_retval::ST_CONTINUE };
            next as c_int
        }
        let mut left = entries.written(&entries.values).iter();
        if left.len() == 0 {
            return;
        }
        // SAFETY: as above. `rb_hash_tbl` tells the collector that this Hash is changed without write barriers.
        unsafe {
            let table = rb_hash_tbl(hash.as_raw(), c"".as_ptr(), 0);
            rb_st_foreach_with_replace(table, Some(each), Some(replace), ptr::from_mut(&mut left) as st_data_t);
        }
    }

    /// A new Hash.
    pub fn hash(&self) -> Value {
        // SAFETY: as above.
        value(unsafe { rb_hash_new() })
    }

    /// Sets in `hash` what `other` has; both must be Hashes.
    pub fn merge(&self, hash: Value, other: impl ReprValue) {
        // SAFETY: as above.
        unsafe { rb_hash_update_by(hash.as_raw(), other.as_raw(), None) };
    }

    /// Freezes a Hash. `None` if it is no Hash.
    pub fn freeze(&self, hash: Value) -> Option<RHash> {
        RHash::from_value(hash).inspect(|hash| hash.freeze())
    }

    /// nil.
    pub fn nil(&self) -> Value {
        value(Qnil.into())
    }

    /// How many entries `hash` has, which must be a Hash.
    pub fn size(&self, hash: Value) -> usize {
        // SAFETY: as above.
        unsafe { rb_hash_size_num(hash.as_raw()) as usize }
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

    /// The interned string that equals `string`, which must be a String that nothing else refers to.
    pub fn intern(&self, string: Value) -> Value {
        // SAFETY: as above.
        value(unsafe { rb_str_to_interned_str(string.as_raw()) })
    }

    /// A new empty Array.
    pub fn array(&self) -> Value {
        // SAFETY: as above.
        value(unsafe { rb_ary_new() })
    }
}
