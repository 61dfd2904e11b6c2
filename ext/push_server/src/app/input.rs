//! `rack.input`.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Class, Error, Module, RHash, RModule, Ruby, Value, method};
use push_core::http::budget;
use push_core::http::request::RequestBody;

use crate::support::cell::GvlCell;
use crate::support::classes;
use crate::support::interned::words;
use crate::support::jump::lookup;

/// Makes the input of one request: binary, rewindable, at its start. `None` if the body is empty: then the
/// template's will do.
pub fn new(ruby: &Ruby, body: RequestBody) -> Result<Option<Value>, Error> {
    match body {
        RequestBody::Memory(bytes) if bytes.is_empty() => Ok(None),
        // A string from bytes is ASCII-8BIT.
        RequestBody::Memory(bytes) => classes::string_io(ruby)?.new_instance((ruby.str_from_slice(&bytes),)).map(Some),
        RequestBody::Spooled(spooled) => {
            let length = spooled.length();
            let (file, reservation) =
                spooled.into_parts().map_err(|error| Error::new(ruby.exception_io_error(), error.to_string()))?;
            let reservation = ruby.obj_wrap(Reservation(GvlCell::new(Some(Arc::new(reservation)))));
            let class = classes::spooled_input(ruby)?;
            let io = owned_by_ruby(file.into(), |descriptor| class.new_instance((descriptor, "r+b")))?;
            let _: Value = io.funcall("hold", (length, reservation))?;
            Ok(Some(io))
        }
    }
}

/// A body's part of `max_spooled_total`, for `PushServer::SpooledInput`. The bytes count as long as the file is open in
/// this process. The part is given back when this object is collected.
#[magnus::wrap(class = "PushServer::SpoolReservation", free_immediately)]
struct Reservation(GvlCell<Option<Arc<budget::Reservation>>>);

impl Reservation {
    /// Gives the bytes back, because the file is closed.
    fn release(ruby: &Ruby, this: Obj<Self>) {
        drop(this.0.with(ruby, Option::take));
    }

    /// Returns one for another descriptor of the same file. The bytes count until both are released.
    fn share(ruby: &Ruby, this: Obj<Self>) -> Obj<Self> {
        let shared = this.0.with(ruby, |held| held.clone());
        ruby.obj_wrap(Reservation(GvlCell::new(shared)))
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = module.define_class("SpoolReservation", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("release", method!(Reservation::release, 0))?;
    class.define_method("share", method!(Reservation::share, 0))?;
    let _: Value = module.funcall("private_constant", ("SpoolReservation",))?;
    Ok(())
}

/// Gives `descriptor` to the IO that `make` makes of it. `make` must call one function of Ruby's core, which takes the
/// descriptor in its last step and checks for no interrupts. So after an error, and after a `Thread#kill`, the descriptor
/// was not taken, and it is closed here.
pub fn owned_by_ruby(descriptor: OwnedFd, make: impl FnOnce(RawFd) -> Result<Value, Error>) -> Result<Value, Error> {
    let io = make(descriptor.as_raw_fd())?;
    let _taken = descriptor.into_raw_fd();
    Ok(io)
}

/// Closes the input of a request that is over, if it is in a file.
pub fn close(ruby: &Ruby, env: RHash) -> Result<(), Error> {
    let spooled = classes::spooled_input(ruby)?;
    let input = lookup(env, ruby.get_inner(words(ruby).rack_input))?.filter(|input| input.is_kind_of(spooled));
    input.map_or(Ok(()), |input| input.funcall::<_, _, Value>("close", ()).map(|_| ()))
}
