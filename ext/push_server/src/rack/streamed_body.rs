//! A body that is sent part by part, when the app makes the parts.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use magnus::block::Proc;
use magnus::value::ReprValue;
use magnus::{Error, Ruby, Value};
use push_core::base::lock::Lock;
use push_core::http::{BodyWriter, Pushed, Responder, Response};

use crate::rack::body::part_of_body;
use crate::support::gvl::{check_interrupts, without_gvl};
use crate::support::library::disconnected_error;

/// Adds a part to a body. If the connection is behind, this waits without the GVL until there is room, or until Ruby
/// interrupts the thread. Raises `PushServer::Disconnected` if the client is gone.
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

/// A body that is being sent part by part.
enum Sending {
    /// The head waits for the first part. So a body that raises before its first part is answered with 500.
    Waiting(Box<(Responder, Response)>),
    Open(Arc<BodyWriter>),
    Ended,
}

/// Sends a body: `each` calls the body's `each` with a block. If that fails before anything was sent, the responder
/// comes back with the error. If it fails later, the connection is closed.
pub fn send_each(
    ruby: &Ruby,
    each: impl FnOnce(Proc) -> Result<(), Error>,
    responder: Responder,
    response: Response,
) -> Result<(), (Error, Option<Responder>)> {
    // The block is a Ruby object, and exists until it is collected. The writer must not exist as long.
    let state = Arc::new(Lock::new(Sending::Waiting(Box::new((responder, response)))));
    let shared = Arc::clone(&state);
    let block = ruby.proc_from_fn(move |ruby: &Ruby, parts: &[Value], _| -> Result<(), Error> {
        let part = parts.first().copied().unwrap_or_else(|| ruby.qnil().as_value());
        let part = part_of_body(ruby, part)?;
        send_part(ruby, &shared, part)
    });
    let result = each(block);
    let ended = std::mem::replace(&mut *state.lock(), Sending::Ended);
    match (result, ended) {
        (Ok(()), Sending::Waiting(waiting)) => {
            let (responder, response) = *waiting;
            responder.respond(response.with_chunks(VecDeque::new()));
        }
        (Ok(()), Sending::Open(writer)) => writer.finish(),
        (Ok(()), Sending::Ended) => {}
        (Err(error), Sending::Waiting(waiting)) => return Err((error, Some(waiting.0))),
        (Err(error), Sending::Open(_) | Sending::Ended) => return Err((error, None)),
    }
    Ok(())
}

fn send_part(ruby: &Ruby, state: &Lock<Sending>, part: Bytes) -> Result<(), Error> {
    let writer = {
        let mut state = state.lock();
        let writer = match std::mem::replace(&mut *state, Sending::Ended) {
            Sending::Waiting(waiting) => {
                let (responder, response) = *waiting;
                Arc::new(responder.stream(response))
            }
            Sending::Open(writer) => writer,
            // The body has kept the block, and called it after the end of `each`.
            Sending::Ended => return Err(disconnected_error(ruby)),
        };
        *state = Sending::Open(Arc::clone(&writer));
        writer
    };
    push(ruby, &writer, part)
}
