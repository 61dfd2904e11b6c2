//! `PushServer::BodyStream`: the stream that a Rack 3 streaming body is called with.

use std::sync::Arc;

use bytes::Bytes;
use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{DataTypeFunctions, Error, Module, RModule, RString, Ruby, TypedData, Value, method};
use push_core::http::BodyWriter;

use crate::rack::streamed_body::push;
use crate::support::cell::GvlCell;
use crate::support::classes::define_private;
use crate::support::errors::{io_error, type_error};
use crate::support::jump::class_name;

/// Reads the request's body, and writes the response's. It may outlive the call of the body, because the app may pass
/// it to a thread of its own. If it is collected without being closed, the connection is closed in the middle of the
/// response.
#[derive(TypedData)]
#[magnus(class = "PushServer::BodyStream", mark, free_immediately)]
pub struct BodyStream {
    input: Value,
    writer: GvlCell<Option<Arc<BodyWriter>>>,
    read_closed: GvlCell<bool>,
}

// SAFETY: the VALUE in here is only used with the GVL, by methods that Ruby calls.
unsafe impl Send for BodyStream {}

impl DataTypeFunctions for BodyStream {
    fn mark(&self, marker: &Marker) {
        marker.mark(self.input);
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define_private::<BodyStream>(ruby, module, "BodyStream")?;
    class.define_method("read", method!(BodyStream::read, -1))?;
    class.define_method("write", method!(BodyStream::write, -1))?;
    class.define_method("<<", method!(BodyStream::append, 1))?;
    class.define_method("flush", method!(BodyStream::flush, 0))?;
    class.define_method("close", method!(BodyStream::close, -1))?;
    class.define_method("close_read", method!(BodyStream::close_read, 0))?;
    class.define_method("close_write", method!(BodyStream::close_write, 0))?;
    class.define_method("closed?", method!(BodyStream::is_closed, 0))
}

impl BodyStream {
    pub fn wrap(ruby: &Ruby, input: Value, writer: BodyWriter) -> Obj<Self> {
        let writer = GvlCell::new(Some(Arc::new(writer)));
        ruby.obj_wrap(BodyStream { input, writer, read_closed: GvlCell::new(false) })
    }

    fn read(ruby: &Ruby, this: Obj<Self>, args: &[Value]) -> Result<Value, Error> {
        if this.read_closed.get(ruby) {
            return Err(io_error(ruby, "not opened for reading"));
        }
        this.input.funcall("read", args)
    }

    fn write(ruby: &Ruby, this: Obj<Self>, parts: &[Value]) -> Result<usize, Error> {
        let mut length = 0;
        for part in parts {
            let string = RString::from_value(*part)
                .ok_or_else(|| type_error(ruby, format_args!("a stream takes Strings, not {}", class_name(*part))))?;
            // SAFETY: copied before anything else runs.
            let bytes = Bytes::copy_from_slice(unsafe { string.as_slice() });
            length += bytes.len();
            let writer = this.writer.with(ruby, |writer| writer.clone());
            let writer = writer.ok_or_else(|| io_error(ruby, "not opened for writing"))?;
            push(ruby, &writer, bytes)?;
        }
        Ok(length)
    }

    fn append(ruby: &Ruby, this: Obj<Self>, part: Value) -> Result<Obj<Self>, Error> {
        Self::write(ruby, this, &[part])?;
        Ok(this)
    }

    /// Does nothing: parts are sent as soon as they are written.
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

    /// Called when the body's call has raised: the response is not complete, so the connection is closed.
    pub fn abandon(&self, ruby: &Ruby) {
        self.writer.with(ruby, Option::take);
    }
}
