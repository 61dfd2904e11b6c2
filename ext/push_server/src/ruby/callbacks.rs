//! `PushServer::Callbacks`: what `PushServer.around_callback` sets.

use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RModule, Ruby, Value, function};

use crate::support::cell::GvlCell;
use crate::support::pinned::pinned;

/// A callable that runs a callback, if there is one.
static AROUND: GvlCell<Option<Value>> = GvlCell::new(None);

pub fn init(module: RModule) -> Result<(), Error> {
    let callbacks = module.define_module("Callbacks")?;
    callbacks.define_singleton_method("around=", function!(set_around, 1))
}

fn set_around(ruby: &Ruby, around: Value) {
    // Wrappers are set a few times in a process's life, if at all: none is ever let go.
    let around = ruby.get_inner(pinned(ruby, around));
    AROUND.set(ruby, Some(around).filter(|around| !around.is_nil()));
}

/// The callable that is called in place of each callback, with client, name, handler and arguments.
pub fn around(ruby: &Ruby) -> Option<Value> {
    AROUND.get(ruby)
}
