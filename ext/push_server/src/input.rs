//! `rack.input`.

use std::os::fd::IntoRawFd;

use magnus::value::ReprValue;
use magnus::{Class, Error, RHash, Ruby, Value};
use push_core::http::request::RequestBody;

use crate::classes;
use crate::jump::lookup;
use crate::words::words;

/// Makes the input of one request: binary, rewindable, at its start. `None` if the body is empty: then the
/// template's will do.
pub fn new(ruby: &Ruby, body: RequestBody) -> Result<Option<Value>, Error> {
    match body {
        RequestBody::Memory(bytes) if bytes.is_empty() => Ok(None),
        // A string from bytes is ASCII-8BIT.
        RequestBody::Memory(bytes) => classes::string_io(ruby)?.new_instance((ruby.str_from_slice(&bytes),)).map(Some),
        RequestBody::Spooled { file, length } => {
            // Ruby closes the descriptor from here on.
            let descriptor = file.into_raw_fd();
            classes::spooled_input(ruby)?.funcall("for", (descriptor, length)).map(Some)
        }
    }
}

/// Closes the input of a request that is over, if it is in a file.
pub fn close(ruby: &Ruby, env: RHash) -> Result<(), Error> {
    let spooled = classes::spooled_input(ruby)?;
    let input = lookup(env, ruby.get_inner(words(ruby).rack_input))?.filter(|input| input.is_kind_of(spooled));
    input.map_or(Ok(()), |input| input.funcall::<_, _, Value>("close", ()).map(|_| ()))
}
