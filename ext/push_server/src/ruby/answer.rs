//! `PushServer::Answer`: `rack.hijack` and `rack.early_hints`, which an app can call while its request is open.

use magnus::rb_sys::AsRawValue;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{DataTypeFunctions, Error, Module, Object, RHash, RModule, Ruby, TypedData, Value, method};
use push_core::http::Responder;

use crate::rack::hijack::take_socket;
use crate::rack::response::headers as headers_of;
use crate::support::cell::GvlCell;
use crate::support::classes::define_private;
use crate::support::errors::{argument_error, io_error};
use crate::support::interned::words;

/// Answers the request that has this object in its env. This is both `env["rack.hijack"]`, which is called without
/// arguments, and `env["rack.early_hints"]`, which is called with headers: so a request makes one object less.
///
/// It has no content: what it needs is in [`OPEN`] while its request is open. So it takes no memory besides the Ruby object.
#[derive(TypedData)]
#[magnus(class = "PushServer::Answer", free_immediately)]
pub struct Answer;

impl DataTypeFunctions for Answer {}

/// What the open requests of this process need to be answered: one for each app thread that calls the app. An answer whose
/// request is over is not among them.
///
/// The VALUEs live as long as their request is open, since they are on the stack of its app thread, where the garbage collector
/// sees them.
///
/// A child that was forked while requests were open has their answers here, too, although their app threads do not exist there.
/// Ruby uses the places of these objects for others. So they stay in their order, and the newest one counts: the last one.
static OPEN: GvlCell<Vec<Open>> = GvlCell::new(Vec::new());

struct Open {
    answer: Obj<Answer>,
    responder: Option<Responder>,
    /// Gets the hijacked socket.
    env: Option<RHash>,
}

/// Where an answer keeps the socket that it has taken. The name has no @, so no Ruby code can see it.
const SOCKET: &str = "socket";

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define_private::<Answer>(ruby, module, "Answer")?;
    class.define_method("call", method!(Answer::call, -1))
}

/// Opens the answer to a request. It must be closed, whatever ends the request.
pub fn open(ruby: &Ruby, responder: Responder) -> Obj<Answer> {
    let answer = ruby.obj_wrap(Answer);
    OPEN.with(ruby, |all| all.push(Open { answer, responder: Some(responder), env: None }));
    answer
}

/// Closes the answer to a request that is over. If nothing has answered it, the client gets 500.
pub fn close(ruby: &Ruby, answer: Obj<Answer>) {
    let closed = OPEN.with(ruby, |all| {
        let place = all.iter().rposition(|open| open.is(answer));
        place.map(|place| all.remove(place))
    });
    // Not inside `with`: an answer that was not given sends 500, which may wake the reactor.
    drop(closed);
}

impl Open {
    fn is(&self, answer: Obj<Answer>) -> bool {
        self.answer.as_raw() == answer.as_raw()
    }
}

/// Works on what an answer needs. `None` if its request is over.
fn with<R>(ruby: &Ruby, answer: Obj<Answer>, work: impl FnOnce(&mut Open) -> R) -> Option<R> {
    OPEN.with(ruby, |all| all.iter_mut().rfind(|open| open.is(answer)).map(work))
}

impl Answer {
    /// Sets the env that gets the hijacked socket.
    pub fn set_env(ruby: &Ruby, this: Obj<Self>, env: RHash) {
        with(ruby, this, |open| open.env = Some(env));
    }

    /// Takes the responder. `None` if the request has been answered, or its connection hijacked.
    pub fn take(ruby: &Ruby, this: Obj<Self>) -> Option<Responder> {
        with(ruby, this, |open| open.responder.take()).flatten()
    }

    /// Whether the responder was taken.
    pub fn is_taken(ruby: &Ruby, this: Obj<Self>) -> bool {
        with(ruby, this, |open| open.responder.is_none()).unwrap_or(true)
    }

    /// Gives the responder back, for another response.
    pub fn put(ruby: &Ruby, this: Obj<Self>, responder: Responder) {
        with(ruby, this, |open| open.responder = Some(responder));
    }

    fn call(ruby: &Ruby, this: Obj<Self>, args: &[Value]) -> Result<Value, Error> {
        match args {
            [] => Self::hijack(ruby, this),
            [headers] => Self::inform(ruby, this, *headers).map(|()| ruby.qnil().as_value()),
            _ => {
                let message = format!("wrong number of arguments (given {}, expected 0..1)", args.len());
                Err(argument_error(ruby, message))
            }
        }
    }

    /// The connection's socket; the same object if it is called again. Releases the GVL to wait for the socket.
    fn hijack(ruby: &Ruby, this: Obj<Self>) -> Result<Value, Error> {
        if let Some(socket) = this.ivar_get::<_, Option<Value>>(SOCKET)? {
            return Ok(socket);
        }
        let taken = with(ruby, this, |open| (open.responder.take(), open.env));
        let Some((Some(responder), env)) = taken else {
            return Err(io_error(ruby, "the request has been answered"));
        };
        // This may wait without the GVL, and the request may be over afterwards.
        let socket = take_socket(ruby, responder, None)?;
        this.ivar_set(SOCKET, socket)?;
        if let Some(env) = env {
            env.aset(ruby.get_inner(words(ruby).rack_hijack_io), socket)?;
        }
        Ok(socket)
    }

    /// Sends 103 Early Hints, unless the request has been answered.
    fn inform(ruby: &Ruby, this: Obj<Self>, headers: Value) -> Result<(), Error> {
        let headers = headers_of(ruby, headers)?;
        with(ruby, this, |open| {
            if let Some(responder) = &open.responder {
                responder.inform(headers);
            }
        });
        Ok(())
    }
}
