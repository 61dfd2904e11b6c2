//! `PushServer::Answer`: `rack.hijack` and `rack.early_hints`, which an app can call while its request is open.

use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{DataTypeFunctions, Error, Module, RHash, RModule, Ruby, TypedData, Value, method};
use push_core::http::Responder;

use crate::rack::hijack::take_socket;
use crate::rack::response::headers as headers_of;
use crate::support::cell::GvlCell;
use crate::support::classes::define_private;
use crate::support::errors::{argument_error, io_error};
use crate::support::interned::words;

/// Holds the responder of a request until something takes it. This is both `env["rack.hijack"]`, which is called
/// without arguments, and `env["rack.early_hints"]`, which is called with headers: so a request makes one object less.
#[derive(TypedData)]
#[magnus(class = "PushServer::Answer", mark, free_immediately)]
pub struct Answer {
    responder: GvlCell<Option<Responder>>,
    env: GvlCell<Option<RHash>>,
    io: GvlCell<Option<Value>>,
}

// SAFETY: the VALUEs in here are only used with the GVL, by methods that Ruby calls.
unsafe impl Send for Answer {}

impl DataTypeFunctions for Answer {
    fn mark(&self, marker: &Marker) {
        self.env.while_marking(|env| env.iter().for_each(|env| marker.mark(*env)));
        self.io.while_marking(|io| io.iter().for_each(|io| marker.mark(*io)));
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define_private::<Answer>(ruby, module, "Answer")?;
    class.define_method("call", method!(Answer::call, -1))
}

impl Answer {
    pub fn wrap(ruby: &Ruby, responder: Responder) -> Obj<Self> {
        let (env, io) = (GvlCell::default(), GvlCell::default());
        ruby.obj_wrap(Answer { responder: GvlCell::new(Some(responder)), env, io })
    }

    /// Sets the env that gets the hijacked socket.
    pub fn belongs_to(&self, ruby: &Ruby, env: RHash) {
        self.env.set(ruby, Some(env));
    }

    /// Takes the responder. `None` if the request has been answered, or its connection hijacked.
    pub fn take(&self, ruby: &Ruby) -> Option<Responder> {
        self.responder.with(ruby, Option::take)
    }

    /// Whether the responder was taken.
    pub fn is_taken(&self, ruby: &Ruby) -> bool {
        self.responder.with(ruby, |responder| responder.is_none())
    }

    /// Gives the responder back, for another response.
    pub fn put(&self, ruby: &Ruby, responder: Responder) {
        self.responder.with(ruby, |place| *place = Some(responder));
    }

    fn call(ruby: &Ruby, this: Obj<Self>, args: &[Value]) -> Result<Value, Error> {
        match args {
            [] => this.hijack(ruby),
            [headers] => this.inform(ruby, *headers).map(|()| ruby.qnil().as_value()),
            _ => {
                let message = format!("wrong number of arguments (given {}, expected 0..1)", args.len());
                Err(argument_error(ruby, message))
            }
        }
    }

    /// The connection's socket; the same object if it is called again. Releases the GVL to wait for the socket.
    fn hijack(&self, ruby: &Ruby) -> Result<Value, Error> {
        if let Some(io) = self.io.get(ruby) {
            return Ok(io);
        }
        let responder = self.take(ruby).ok_or_else(|| io_error(ruby, "the request has been answered"))?;
        let io = take_socket(ruby, responder, None)?;
        self.io.set(ruby, Some(io));
        if let Some(env) = self.env.get(ruby) {
            env.aset(ruby.get_inner(words(ruby).rack_hijack_io), io)?;
        }
        Ok(io)
    }

    /// Sends 103 Early Hints, unless the request has been answered.
    fn inform(&self, ruby: &Ruby, headers: Value) -> Result<(), Error> {
        let headers = headers_of(ruby, headers)?;
        self.responder.with(ruby, |responder| {
            if let Some(responder) = responder {
                responder.inform(headers);
            }
        });
        Ok(())
    }
}
