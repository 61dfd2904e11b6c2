//! `rack.input`.

use std::os::fd::IntoRawFd;

use magnus::encoding::EncodingCapable;
use magnus::value::{Lazy, ReprValue};
use magnus::{Class, Error, Module, RClass, RHash, RModule, Ruby, Value};
use push_core::http::request::RequestBody;

use crate::env;

/// StringIO: Ruby's own, and whatever a Rack application expects of an input it has.
static STRING_IO: Lazy<RClass> = Lazy::new(|ruby| {
    let class = ruby.require("stringio").and_then(|_| ruby.class_object().const_get("StringIO"));
    class.unwrap_or_else(|_| ruby.class_object())
});

static SPOOLED: Lazy<RClass> = Lazy::new(|ruby| {
    let class = crate::module(ruby).and_then(|module: RModule| module.const_get("SpooledInput"));
    class.unwrap_or_else(|_| ruby.class_object())
});

/// Makes the input of one request: binary, rewindable, at its start.
pub fn new(ruby: &Ruby, body: RequestBody) -> Result<Value, Error> {
    match body {
        RequestBody::Memory(bytes) => {
            let string = ruby.str_from_slice(&bytes);
            string.enc_associate(ruby.ascii8bit_encindex())?;
            ruby.get_inner(&STRING_IO).new_instance((string,))
        }
        RequestBody::Spooled { file, length } => {
            // Ruby closes the descriptor from here on.
            let descriptor = file.into_raw_fd();
            ruby.get_inner(&SPOOLED).funcall("for", (descriptor, length))
        }
    }
}

/// Closes the input of a request that is over, if it is in a file.
pub fn close(ruby: &Ruby, env: RHash) -> Result<(), Error> {
    let input = env.get(env::word(ruby, "rack.input")).filter(|input| input.is_kind_of(ruby.get_inner(&SPOOLED)));
    input.map_or(Ok(()), |input| input.funcall::<_, _, Value>("close", ()).map(|_| ()))
}
