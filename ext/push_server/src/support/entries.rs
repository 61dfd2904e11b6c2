//! Reading a Hash.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

use magnus::r_hash::ForEach;
use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::{Error, RHash, Ruby, Value};
use rb_sys::{Qnil, VALUE, rb_hash_foreach};

/// Room for the entries of most Hashes. Larger ones are read in another way.
const CAPACITY: usize = 32;

/// Copies of entries, on the stack, where the garbage collector sees them.
struct Entries {
    slots: [MaybeUninit<(VALUE, VALUE)>; CAPACITY],
    length: usize,
    /// There are more.
    incomplete: bool,
}

/// Calls `take` with each key and value of `hash`.
///
/// Ruby first walks over the Hash, and only copies its entries. `take` runs afterwards: in the middle of Ruby's walk, each call of
/// it would need a guard of its own.
#[inline]
pub fn each_entry(
    _locked: &Ruby,
    hash: RHash,
    mut take: impl FnMut(Value, Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut entries = Entries { slots: [const { MaybeUninit::uninit() }; CAPACITY], length: 0, incomplete: false };
    protect(|| {
        // SAFETY: called with the GVL, and protected; `copy` gets a pointer that is valid during the call.
        unsafe { rb_hash_foreach(hash.as_raw(), Some(copy), ptr::from_mut(&mut entries) as VALUE) };
        Qnil.into()
    })?;
    if entries.incomplete {
        return hash.foreach(|key: Value, value: Value| take(key, value).map(|()| ForEach::Continue));
    }
    for entry in &entries.slots[..entries.length] {
        // SAFETY: so many slots were written, with what is in the Hash.
        let (key, value) = unsafe {
            let (key, value) = entry.assume_init();
            (Value::from_raw(key), Value::from_raw(value))
        };
        take(key, value)?;
    }
    Ok(())
}

unsafe extern "C" fn copy(key: VALUE, value: VALUE, entries: VALUE) -> c_int {
    // SAFETY: `each_entry` passes a pointer to its own variable.
    let entries = unsafe { &mut *(entries as *mut Entries) };
    match entries.slots.get_mut(entries.length) {
        Some(slot) => {
            slot.write((key, value));
            entries.length += 1;
            ForEach::Continue as c_int
        }
        None => {
            entries.incomplete = true;
            ForEach::Stop as c_int
        }
    }
}
