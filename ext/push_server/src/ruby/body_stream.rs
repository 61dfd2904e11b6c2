//! The stream that a Rack 3 streaming body is called with.

use std::sync::Arc;

use bytes::Bytes;
use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Class, DataTypeFunctions, Error, Module, RModule, RString, Ruby, TypedData, Value, method};
use push_core::http::{BodyWriter, Pushed};

use crate::rack::response::{app_error, disconnected_error};
use crate::support::cell::GvlCell;
use crate::support::gvl::{check_interrupts, without_gvl};
use crate::support::jump::class_name;

/// Reads the request's body, writes the response's. It may outlive the call: an app may hand it
/// to a thread of its own. Collected without being closed, it cuts the connection.
#[derive(TypedData)]
#[magnus(class = "PushServer::BodyStream", mark, free_immediately)]
pub struct BodyStream {
    input: Value,
    writer: GvlCell<Option<Arc<BodyWriter>>>,
    read_closed: GvlCell<bool>,
}

// SAFETY: the VALUE in here is only used with the lock held, by methods that Ruby calls.
unsafe impl Send for BodyStream {}

impl DataTypeFunctions for BodyStream {
    fn mark(&self, marker: &Marker) {
        marker.mark(self.input);
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = module.define_class("BodyStream", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("read", method!(BodyStream::read, -1))?;
    class.define_method("write", method!(BodyStream::write, -1))?;
    class.define_method("<<", method!(BodyStream::append, 1))?;
    class.define_method("flush", method!(BodyStream::flush, 0))?;
    class.define_method("close", method!(BodyStream::close, -1))?;
    class.define_method("close_read", method!(BodyStream::close_read, 0))?;
    class.define_method("close_write", method!(BodyStream::close_write, 0))?;
    class.define_method("closed?", method!(BodyStream::is_closed, 0))?;
    let _: Value = module.funcall("private_constant", ("BodyStream",))?;
    Ok(())
}

/// Adds a part to a body; waits, without Ruby's lock, while the connection is behind.
pub fn push(ruby: &Ruby, writer: &BodyWriter, part: Bytes) -> Result<(), Error> {
    match writer.push(part) {
        Pushed::Room => Ok(()),
        Pushed::Gone => Err(disconnected_error(ruby)),
        Pushed::Full => {
            without_gvl(ruby, || writer.wait_for_room(), || writer.interrupt());
            check_interrupts(ruby)
        }
    }
}

impl BodyStream {
    pub fn wrap(ruby: &Ruby, input: Value, writer: BodyWriter) -> Obj<Self> {
        let writer = GvlCell::new(Some(Arc::new(writer)));
        ruby.obj_wrap(BodyStream { input, writer, read_closed: GvlCell::new(false) })
    }

    fn read(ruby: &Ruby, this: Obj<Self>, args: &[Value]) -> Result<Value, Error> {
        if this.read_closed.get(ruby) {
            return Err(Error::new(ruby.exception_io_error(), "not opened for reading"));
        }
        this.input.funcall("read", args)
    }

    fn write(ruby: &Ruby, this: Obj<Self>, parts: &[Value]) -> Result<usize, Error> {
        let mut length = 0;
        for part in parts {
            let string = RString::from_value(*part)
                .ok_or_else(|| app_error(ruby, format_args!("a stream takes Strings, not {}", class_name(*part))))?;
            // SAFETY: copied before anything else runs.
            let bytes = Bytes::copy_from_slice(unsafe { string.as_slice() });
            length += bytes.len();
            let writer = this.writer.with(ruby, |writer| writer.clone());
            let writer = writer.ok_or_else(|| Error::new(ruby.exception_io_error(), "not opened for writing"))?;
            push(ruby, &writer, bytes)?;
        }
        Ok(length)
    }

    fn append(ruby: &Ruby, this: Obj<Self>, part: Value) -> Result<Obj<Self>, Error> {
        Self::write(ruby, this, &[part])?;
        Ok(this)
    }

    /// Parts are on their way as soon as they are written.
    fn flush(this: Obj<Self>) -> Obj<Self> {
        this
    }

    fn close(ruby: &Ruby, this: Obj<Self>, _error: &[Value]) {
        Self::close_read(ruby, this);
        Self::close_write(ruby, this);
    }

    fn close_read(ruby: &Ruby, this: Obj<Self>) {
        this.read_closed.set(ruby, true);
    }

    fn close_write(ruby: &Ruby, this: Obj<Self>) {
        if let Some(writer) = this.writer.with(ruby, Option::take) {
            writer.finish();
        }
    }

    fn is_closed(ruby: &Ruby, this: Obj<Self>) -> bool {
        this.read_closed.get(ruby) && this.writer.with(ruby, |writer| writer.is_none())
    }

    /// The body's call raised: what was sent is not whole.
    pub fn abandon(&self, ruby: &Ruby) {
        self.writer.with(ruby, Option::take);
    }
}
