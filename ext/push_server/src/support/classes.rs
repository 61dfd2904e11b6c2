//! Ruby's own classes, looked up once, before any app thread runs; and how this extension defines its classes.
//!
//! Looking a constant up can run Ruby code (`autoload`), and so switch threads. To do that behind a once-lock when the
//! constant is first needed deadlocks: the second app thread waits for the lock while it holds the GVL, and the first
//! app thread needs the GVL to go on.

use std::sync::OnceLock;

use magnus::value::{Opaque, ReprValue};
use magnus::{Class, Error, Module, RClass, RModule, Ruby, TypedData, Value};

use crate::support::pinned::pinned;

static CLASSES: OnceLock<Classes> = OnceLock::new();

/// The classes. All are pinned, since the collector would move those that are defined in Ruby.
#[derive(Clone, Copy)]
struct Classes {
    string_io: Opaque<RClass>,
    tcp_socket: Opaque<RClass>,
    unix_socket: Opaque<RClass>,
    /// Rack 3 has bodies close themselves in `to_ary`; Rack 2 says nothing about it.
    to_ary_closes: bool,
}

/// Looks the classes up. Called when a server is made. The error is what `require` or a look-up raised.
pub fn load(ruby: &Ruby) -> Result<(), Error> {
    // Another server was made before: the classes are the same.
    if CLASSES.get().is_some() {
        return Ok(());
    }
    ruby.require("stringio")?;
    ruby.require("socket")?;
    let object = ruby.class_object();
    let release: String = object.const_get::<_, RModule>("Rack")?.funcall("release", ())?;
    let classes = Classes {
        string_io: pinned(ruby, object.const_get("StringIO")?),
        tcp_socket: pinned(ruby, object.const_get("TCPSocket")?),
        unix_socket: pinned(ruby, object.const_get("UNIXSocket")?),
        to_ary_closes: !release.starts_with("2."),
    };
    // An error means that another thread has set it meanwhile.
    let _ = CLASSES.set(classes);
    Ok(())
}

fn get(ruby: &Ruby) -> Result<Classes, Error> {
    let missing = || Error::new(ruby.exception_runtime_error(), "push_server: no server was made yet");
    CLASSES.get().copied().ok_or_else(missing)
}

/// `StringIO`, the input that Rack apps expect of a body in memory.
pub fn string_io(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.string_io))
}

/// `TCPSocket`.
pub fn tcp_socket(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.tcp_socket))
}

/// `UNIXSocket`.
pub fn unix_socket(ruby: &Ruby) -> Result<RClass, Error> {
    get(ruby).map(|classes| ruby.get_inner(classes.unix_socket))
}

/// Whether a body's `to_ary` closes the body.
pub fn to_ary_closes(ruby: &Ruby) -> Result<bool, Error> {
    get(ruby).map(|classes| classes.to_ary_closes)
}

/// Defines the class of `T`, a constant of `PushServer` of which only this extension makes instances.
pub fn define<T: TypedData>(ruby: &Ruby, module: RModule, name: &str) -> Result<RClass, Error> {
    #[expect(clippy::disallowed_methods, reason = "this is the function that the others use")]
    let class = module.define_class(name, ruby.class_object())?;
    class.undef_default_alloc_func();
    // Here, because magnus looks it up behind a once-lock when it makes the first instance.
    let _ = T::class(ruby);
    Ok(class)
}

/// The same, as a private constant.
pub fn define_private<T: TypedData>(ruby: &Ruby, module: RModule, name: &str) -> Result<RClass, Error> {
    let class = define::<T>(ruby, module, name)?;
    let _: Value = module.funcall("private_constant", (name,))?;
    Ok(class)
}
