//! Ruby objects in statics.

use magnus::value::{Opaque, ReprValue};
use magnus::{Ruby, gc::Mark};

/// Makes an object stay: it is never collected, and the collector never moves it.
///
/// Every VALUE in a static comes from here. An object that Ruby code refers to as well is not collected, but
/// `GC.compact` moves it, and then the static refers to whatever took its place.
///
/// Each call costs memory that is never given back: for what is made once in a process.
pub fn pinned<T: ReprValue + Mark>(ruby: &Ruby, value: T) -> Opaque<T> {
    ruby.gc_register_mark_object(value);
    value.into()
}
