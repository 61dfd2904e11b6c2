//! Classes that are not defined here, looked up once, before any worker runs.
//!
//! Looking one up can run Ruby code, and so switch threads. To do that behind a once-lock, when it is
//! first needed, deadlocks: the next worker waits for the lock while it holds the GVL, which the first
//! one needs to go on.

use std::sync::OnceLock;

use magnus::value::{Opaque, ReprValue};
use magnus::{Error, ExceptionClass, Module, RClass, RModule, Ruby};

use crate::support::pinned::pinned;

static CLASSES: OnceLock<Classes> = OnceLock::new();

/// The classes. All are pinned, since the collector would move those that are defined in Ruby.
#[derive(Clone, Copy)]
pub struct Classes {
    string_io: Opaque<RClass>,
    spooled_input: Opaque<RClass>,
    tcp_socket: Opaque<RClass>,
    unix_socket: Opaque<RClass>,
    disconnected: Opaque<ExceptionClass>,
    bodies: Opaque<RModule>,
    /// Rack 3 has bodies close themselves in `to_ary`; Rack 2 knows nothing of it.
    to_ary_closes: bool,
}

/// Looks them up; called when a server is made, with all of the library loaded.
pub fn load(ruby: &Ruby) -> Result<(), Error> {
    // Another server was made before: the classes are the same.
    if CLASSES.get().is_some() {
        return Ok(());
    }
    ruby.require("stringio")?;
    ruby.require("socket")?;
    let (object, module) = (ruby.class_object(), crate::module(ruby)?);
    let release: String = object.const_get::<_, RModule>("Rack")?.funcall("release", ())?;
    let classes = Classes {
        string_io: pinned(ruby, object.const_get("StringIO")?),
        spooled_input: pinned(ruby, module.const_get("SpooledInput")?),
        tcp_socket: pinned(ruby, object.const_get("TCPSocket")?),
        unix_socket: pinned(ruby, object.const_get("UNIXSocket")?),
        disconnected: pinned(ruby, module.const_get("Disconnected")?),
        to_ary_closes: !release.starts_with("2."),
        bodies: pinned(ruby, module.const_get("Bodies")?),
    };
    // An error means that another thread has set it meanwhile.
    let _ = CLASSES.set(classes);
    Ok(())
}

fn get(ruby: &Ruby) -> Result<Classes, Error> {
    let missing = || Error::new(ruby.exception_runtime_error(), "push_server: no server was made yet");
    CLASSES.get().copied().ok_or_else(missing)
}

/// StringIO: Ruby's own, and whatever a Rack application expects of an input it has.
pub fn string_io(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.string_io))
}

/// `PushServer::SpooledInput`.
pub fn spooled_input(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.spooled_input))
}

/// TCPSocket.
pub fn tcp_socket(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.tcp_socket))
}

/// UNIXSocket.
pub fn unix_socket(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.unix_socket))
}

/// `PushServer::Disconnected`.
pub fn disconnected(ruby: &Ruby) -> Result<ExceptionClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.disconnected))
}

/// Whether a body's `to_ary` closes it.
pub fn to_ary_closes(ruby: &Ruby) -> Result<bool, Error> {
    get(ruby).map(|classes| classes.to_ary_closes)
}

/// `PushServer::Bodies`.
pub fn bodies(ruby: &Ruby) -> Result<RModule, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.bodies))
}
