//! `rack.hijack` and `rack.early_hints`: what an app can call while its request is open.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded, select};
use http::HeaderMap;
use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Class, DataTypeFunctions, Error, Module, RClass, RHash, RModule, Ruby, TypedData, Value, method};
use push_core::http::hijack::Hijacked;
use push_core::http::response::early_hints;
use push_core::http::{Responder, Response};

use crate::cell::GvlCell;
use crate::classes;
use crate::gvl::{check_interrupts, without_gvl};
use crate::response;

/// The way back from an app, as long as nobody has taken it.
#[derive(Clone)]
pub struct Answer(Arc<Mutex<Option<Responder>>>);

impl Answer {
    pub fn new(responder: Responder) -> Self {
        Answer(Arc::new(Mutex::new(Some(responder))))
    }

    /// Takes it; `None` if the request is answered, or its connection hijacked.
    pub fn take(&self) -> Option<Responder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it was taken.
    pub fn is_taken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Gives it back, for another try.
    pub fn put(&self, responder: Responder) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(responder);
    }

    fn inform(&self, head: Bytes) {
        if let Some(responder) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            responder.inform(head);
        }
    }
}

/// What `env["rack.hijack"]` is.
#[derive(TypedData)]
#[magnus(class = "PushServer::Hijack", mark, free_immediately)]
struct Hijack {
    answer: Answer,
    env: RHash,
    io: GvlCell<Option<Value>>,
}

// SAFETY: the VALUEs in here are only used with the lock held, by methods that Ruby calls.
unsafe impl Send for Hijack {}

impl DataTypeFunctions for Hijack {
    fn mark(&self, marker: &Marker) {
        marker.mark(self.env);
        self.io.while_marking(|io| {
            if let Some(io) = io {
                marker.mark(*io);
            }
        });
    }
}

/// What `env["rack.early_hints"]` is.
#[derive(TypedData)]
#[magnus(class = "PushServer::EarlyHints", free_immediately)]
struct EarlyHints {
    answer: Answer,
}

impl DataTypeFunctions for EarlyHints {}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let hijack = module.define_class("Hijack", ruby.class_object())?;
    hijack.undef_default_alloc_func();
    hijack.define_method("call", method!(Hijack::call, 0))?;
    let hints = module.define_class("EarlyHints", ruby.class_object())?;
    hints.undef_default_alloc_func();
    hints.define_method("call", method!(EarlyHints::call, 1))?;
    let _: Value = module.funcall("private_constant", ("Hijack", "EarlyHints"))?;
    Ok(())
}

/// Makes the value of `env["rack.hijack"]`.
pub fn hijack(ruby: &Ruby, answer: &Answer, env: RHash) -> Value {
    ruby.obj_wrap(Hijack { answer: answer.clone(), env, io: GvlCell::default() }).as_value()
}

/// Makes the value of `env["rack.early_hints"]`.
pub fn hints(ruby: &Ruby, answer: &Answer) -> Value {
    ruby.obj_wrap(EarlyHints { answer: answer.clone() }).as_value()
}

impl Hijack {
    /// Gives the app its connection; called again, the same.
    fn call(ruby: &Ruby, this: Obj<Self>) -> Result<Value, Error> {
        if let Some(io) = this.io.get(ruby) {
            return Ok(io);
        }
        let responder = this.answer.take().ok_or_else(|| gone(ruby, "the request has been answered"))?;
        let io = take_socket(ruby, responder, None)?;
        this.io.set(ruby, Some(io));
        this.env.aset(ruby.str_new("rack.hijack_io"), io)?;
        Ok(io)
    }
}

impl EarlyHints {
    fn call(ruby: &Ruby, this: Obj<Self>, headers: Value) -> Result<(), Error> {
        let headers: HeaderMap = response::headers(ruby, headers)?;
        this.answer.inform(early_hints(&headers));
        Ok(())
    }
}

fn gone(ruby: &Ruby, message: &'static str) -> Error {
    Error::new(ruby.exception_io_error(), message)
}

/// Waits for the connection's socket, behind earlier responses and the head of `response`.
pub fn take_socket(ruby: &Ruby, responder: Responder, response: Option<Response>) -> Result<Value, Error> {
    let receiver = responder.hijack(response);
    let (interrupt, interrupted) = bounded::<()>(1);
    loop {
        let hijacked = without_gvl(
            ruby,
            || wait(&receiver, &interrupted),
            || {
                // Full: it is interrupted already.
                let _ = interrupt.try_send(());
            },
        );
        match hijacked {
            Some(Waited::Got(hijacked)) => return socket_of(ruby, hijacked),
            Some(Waited::Gone) => return Err(gone(ruby, "the connection broke before it could be hijacked")),
            Some(Waited::Interrupted) | None => check_interrupts(ruby)?,
        }
    }
}

enum Waited {
    Got(Hijacked),
    Gone,
    Interrupted,
}

fn wait(receiver: &Receiver<Hijacked>, interrupted: &Receiver<()>) -> Waited {
    select! {
        recv(receiver) -> hijacked => hijacked.map_or(Waited::Gone, Waited::Got),
        recv(interrupted) -> _ => Waited::Interrupted,
    }
}

fn socket_of(ruby: &Ruby, hijacked: Hijacked) -> Result<Value, Error> {
    let wrap = |class: RClass, descriptor: OwnedFd| -> Result<Value, Error> {
        // Ruby closes the descriptor from here on.
        let io: Value = class.funcall("for_fd", (descriptor.into_raw_fd(),))?;
        let _: Value = io.funcall("binmode", ())?;
        let _: Value = io.funcall("sync=", (true,))?;
        Ok(io)
    };
    match hijacked {
        Hijacked::Connection(descriptor) => wrap(classes::tcp_socket(ruby)?, descriptor),
        Hijacked::Pumped(descriptor) => wrap(classes::unix_socket(ruby)?, descriptor),
    }
}
