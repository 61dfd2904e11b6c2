//! `rack.input`.

use magnus::{Class, Error, RHash, Ruby, Value};
use push_core::http::request::RequestBody;

use crate::ruby::spool_reservation::SpoolReservation;
use crate::support::classes;
use crate::support::descriptor::owned_by_ruby;
use crate::support::errors::io_error;
use crate::support::interned::words;
use crate::support::jump::lookup;
use crate::support::library;

/// The input of one request: binary, rewindable, at its start. `None` if the body is empty: then the env template has
/// an input. The error is an `IOError`.
pub fn new(ruby: &Ruby, body: RequestBody) -> Result<Option<Value>, Error> {
    match body {
        RequestBody::Memory(bytes) if bytes.is_empty() => Ok(None),
        // magnus makes an ASCII-8BIT String of bytes, as Rack wants it.
        RequestBody::Memory(bytes) => classes::string_io(ruby)?.new_instance((ruby.str_from_slice(&bytes),)).map(Some),
        RequestBody::Spooled(spooled) => {
            let length = spooled.length();
            let (file, reservation) = spooled.into_parts().map_err(|error| io_error(ruby, error))?;
            let reservation = SpoolReservation::wrap(ruby, reservation);
            let io = owned_by_ruby(file.into(), |descriptor| library::spooled_input(ruby, descriptor))?;
            library::hold_spooled_input(io, length, reservation)?;
            Ok(Some(io))
        }
    }
}

/// Closes the input of a request that is over, if it is in a file. The error is what closing it raised.
pub fn close(ruby: &Ruby, env: RHash) -> Result<(), Error> {
    let input = lookup(env, ruby.get_inner(words(ruby).rack_input))?;
    input.map_or(Ok(()), |input| library::close_spooled_input(ruby, input))
}
