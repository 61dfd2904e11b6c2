//! Ruby objects in statics.

use magnus::value::{Opaque, ReprValue};
use magnus::{Ruby, gc::Mark};

/// Pins an object: the collector never frees it and never moves it.
///
/// Every VALUE in a static must come from here. Even an object that Ruby code refers to, so that it is not freed, would
/// be moved by `GC.compact`; the static would then refer to whatever took its place.
///
/// Each call costs memory that is never given back. So this is for objects that are made once in a process.
pub fn pinned<T: ReprValue + Mark>(ruby: &Ruby, value: T) -> Opaque<T> {
    ruby.gc_register_mark_object(value);
    value.into()
}
