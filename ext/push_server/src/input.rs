//! `rack.input`.

use std::os::fd::IntoRawFd;

use magnus::encoding::EncodingCapable;
use magnus::value::ReprValue;
use magnus::{Class, Error, RHash, Ruby, Value};
use push_core::http::request::RequestBody;

use crate::{classes, env};

/// Makes the input of one request: binary, rewindable, at its start.
pub fn new(ruby: &Ruby, body: RequestBody) -> Result<Value, Error> {
    match body {
        RequestBody::Memory(bytes) => {
            let string = ruby.str_from_slice(&bytes);
            string.enc_associate(ruby.ascii8bit_encindex())?;
            classes::string_io(ruby)?.new_instance((string,))
        }
        RequestBody::Spooled { file, length } => {
            // Ruby closes the descriptor from here on.
            let descriptor = file.into_raw_fd();
            classes::spooled_input(ruby)?.funcall("for", (descriptor, length))
        }
    }
}

/// Closes the input of a request that is over, if it is in a file.
pub fn close(ruby: &Ruby, env: RHash) -> Result<(), Error> {
    let spooled = classes::spooled_input(ruby)?;
    let input = env.get(env::word(ruby, "rack.input")).filter(|input| input.is_kind_of(spooled));
    input.map_or(Ok(()), |input| input.funcall::<_, _, Value>("close", ()).map(|_| ()))
}
