//! Ruby objects in statics.

use magnus::value::{Opaque, ReprValue};
use magnus::{Ruby, gc::Mark};

/// Pins an object: the garbage collector never frees nor moves it.
///
/// Every VALUE in a static must come from here. An object that Ruby code refers to is not freed, but `GC.compact` would
/// move it; the static would then refer to another object.
///
/// Each call costs memory that is never given back. So this is for objects that are made once in a process.
pub fn pinned<T: ReprValue + Mark>(ruby: &Ruby, value: T) -> Opaque<T> {
    ruby.gc_register_mark_object(value);
    value.into()
}
