//! Full hijacking: the socket of a connection becomes the app's.

use std::os::fd::OwnedFd;

use crossbeam_channel::select;
use magnus::value::ReprValue;
use magnus::{Error, RClass, Ruby, Value};
use push_core::http::hijack::Hijacked;
use push_core::http::{Hijacking, Responder, Response};

use crate::support::classes;
use crate::support::descriptor::owned_by_ruby;
use crate::support::errors::io_error;
use crate::support::gvl::{Interrupt, wait_without_gvl};

/// Takes the connection's socket, after earlier responses and the head of `response`. Most often there is nothing to
/// wait for. Then the GVL is kept: no other Ruby thread runs meanwhile, on which some libraries rely. Otherwise this
/// waits without the GVL, and Ruby can interrupt it. Raises `IOError` if the connection ends before.
pub fn take_socket(ruby: &Ruby, responder: Responder, response: Option<Response>) -> Result<Value, Error> {
    let receiver = match responder.hijack(response) {
        Hijacking::Done(hijacked) => return socket_of(ruby, hijacked),
        Hijacking::Waiting(receiver) => receiver,
    };
    let interrupt = Interrupt::new();
    let wait = || {
        select! {
            recv(receiver) -> hijacked => Some(hijacked.ok()),
            recv(interrupt.receiver()) -> _ => None,
        }
    };
    match wait_without_gvl(ruby, wait, || interrupt.send())? {
        Some(hijacked) => socket_of(ruby, hijacked),
        None => Err(io_error(ruby, "the connection broke before it could be hijacked")),
    }
}

fn socket_of(ruby: &Ruby, hijacked: Hijacked) -> Result<Value, Error> {
    let wrap = |class: RClass, descriptor: OwnedFd| -> Result<Value, Error> {
        let io = owned_by_ruby(descriptor, |descriptor| class.funcall("for_fd", (descriptor,)))?;
        let _: Value = io.funcall("binmode", ())?;
        let _: Value = io.funcall("sync=", (true,))?;
        Ok(io)
    };
    match hijacked {
        Hijacked::Tcp(descriptor) => wrap(classes::tcp_socket(ruby)?, descriptor),
        Hijacked::Unix(descriptor) => wrap(classes::unix_socket(ruby)?, descriptor),
    }
}
