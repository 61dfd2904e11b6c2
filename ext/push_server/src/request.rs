//! One call of the app.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use http::request::Parts;
use magnus::value::ReprValue;
use magnus::{Error, RClass, Ruby, Value};
use push_core::Server;
use push_core::http::request::RequestBody;
use push_core::http::{Request, Responder, Response};

use crate::declined::Declined;
use crate::exchange::Exchange;
use crate::hijack::Answer;
use crate::settings::Own;
use crate::template::Templates;
use crate::words::words;
use crate::workers::Workers;
use crate::{env, input, response};

/// A request, for the log: method and path.
#[derive(Clone, Copy)]
pub struct Line<'a>(pub &'a Parts);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0.method, self.0.uri.path())
    }
}

/// What the requests of a server need.
pub struct Context<'a> {
    pub app: Value,
    pub templates: &'a Templates,
    pub own: &'a Own,
    pub workers: &'a Arc<Workers>,
    pub server: &'a Server,
}

/// Calls the app and answers. The error is what must end this thread (a `Thread#kill`): whatever
/// the app raises is answered here.
pub fn serve(ruby: &Ruby, context: &Context<'_>, request: Request) -> Result<(), Error> {
    let Request { head, body, remote, listener, upgrade, responder } = request;
    let line = Line(&head);
    let spooled = matches!(body, RequestBody::Spooled { .. });
    let body_length = body.len();
    let answer = Answer::wrap(ruby, responder);
    let env = input::new(ruby, body).and_then(|input| {
        let answer = answer.as_value();
        let subject = env::Subject { head: &head, listener, remote, upgrade, body_length, input, answer };
        env::build(ruby, context.templates, &subject)
    });
    let env = match env {
        Ok(env) => env,
        Err(error) => {
            fail(ruby, line, answer.take(ruby), &error);
            return Err(error).or_else(only_jumps);
        }
    };
    answer.belongs_to(ruby, env);
    let exchange = Exchange::new(ruby, context, env, line, spooled, answer);
    let called = context.app.funcall::<_, _, Value>(words(ruby).call, (env,));
    let result = called.and_then(|value| {
        exchange.returned(value);
        if answer.is_taken(ruby) {
            // Hijacked: whatever was returned (Rack suggests [-1, {}, []]) means nothing.
            return exchange.conclude(None);
        }
        let app = response::parse(ruby, value)?;
        let Some(protocol) = upgrade else {
            if env::handler(ruby, env).is_some() {
                Declined::NotAsked.log(line);
            }
            return exchange.respond(app, false);
        };
        match env::handler(ruby, env) {
            Some(handler) if app.status < 300 => exchange.accept(protocol, remote.to_string(), handler, app),
            Some(_) => {
                Declined::Status(app.status).log(line);
                exchange.respond(app, false)
            }
            None => exchange.respond(app, true),
        }
    });
    let Err(error) = result else { return Ok(()) };
    // A child that the app forked off without a block is the app's own process, and ends as it likes.
    if context.server.forked() {
        return Err(error);
    }
    if !response::disconnected(ruby, &error) {
        fail(ruby, line, answer.take(ruby), &error);
    }
    // While the thread unwinds, nothing of Ruby may be called.
    let Some(value) = error.value() else { return Err(error) };
    let concluded = exchange.conclude(Some(exception_of(&error, value)));
    concluded.or_else(|error| {
        fail(ruby, line, None, &error);
        only_jumps(error)
    })
}

/// A thread that is killed must die; an exception has been answered and logged.
fn only_jumps(error: Error) -> Result<(), Error> {
    if error.value().is_some() { Ok(()) } else { Err(error) }
}

/// Logs what went wrong, and answers 500 if nothing was sent yet.
fn fail(ruby: &Ruby, line: Line<'_>, responder: Option<Responder>, error: &Error) {
    match error.value() {
        Some(value) => crate::log_exception(ruby, &line.to_string(), exception_of(error, value)),
        None => log::error!("{line}: the thread was ended in the middle of the request"),
    }
    if let Some(responder) = responder {
        // What was raised is for the log; ShowExceptions is there for those who want to see it.
        responder.respond(Response::plain(http::StatusCode::INTERNAL_SERVER_ERROR));
    }
}

/// The exception of an error whose value is `value`: an error made in Rust has a class and a
/// message so far.
pub fn exception_of(error: &Error, value: Value) -> Value {
    match RClass::from_value(value) {
        Some(class) => {
            let text = error.to_string();
            let message = text.split_once(": ").map_or(text.as_str(), |(_, message)| message);
            class.funcall("new", (message,)).unwrap_or(value)
        }
        None => value,
    }
}
