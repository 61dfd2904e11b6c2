//! `PushServer::Callbacks`: what `PushServer.around_callback` sets.

use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RModule, Ruby, Value, function};

use crate::support::cell::GvlCell;
use crate::support::pinned::pinned;

/// The callable that runs each callback, if there is one.
static AROUND: GvlCell<Option<Value>> = GvlCell::new(None);

pub fn init(module: RModule) -> Result<(), Error> {
    let callbacks = module.define_module("Callbacks")?;
    callbacks.define_singleton_method("around=", function!(set_around, 1))
}

fn set_around(ruby: &Ruby, around: Value) {
    // Pinned objects are never freed. An app sets few wrappers in the life of a process, if it sets any.
    let around = ruby.get_inner(pinned(ruby, around));
    AROUND.set(ruby, Some(around).filter(|around| !around.is_nil()));
}

/// What is called in place of each callback, with client, name, handler and arguments.
pub fn around(ruby: &Ruby) -> Option<Value> {
    AROUND.get(ruby)
}
