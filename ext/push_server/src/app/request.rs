//! One call of the app.

use magnus::error::ErrorType;
use magnus::value::ReprValue;
use magnus::{Class, Error, Ruby, Value};
use push_core::http::request::RequestBody;
use push_core::http::{Request, Responder, Response};

use crate::app::context::WorkerContext;
use crate::app::declined::Declined;
use crate::app::exchange::Exchange;
use crate::app::input;
use crate::app::request_line::RequestLine;
use crate::rack::{env, response};
use crate::ruby::answer::Answer;
use crate::support::interned::words;
use crate::support::jump::unless_raised;
use crate::support::library::{is_disconnected, log_exception};

/// Calls the app and answers. The error is what must end this thread (a `Thread#kill`): whatever
/// the app raises is answered here.
pub fn serve(ruby: &Ruby, context: &WorkerContext<'_>, request: Request) -> Result<(), Error> {
    let Request { head, body, peer, listener, upgrade, responder } = request;
    let line = RequestLine(&head);
    let spooled = matches!(body, RequestBody::Spooled(_));
    let body_length = body.len();
    let answer = Answer::wrap(ruby, responder);
    let env = input::new(ruby, body).and_then(|input| {
        let answer = answer.as_value();
        let subject = env::Subject { head: &head, listener, peer, upgrade, body_length, input, answer };
        env::build(ruby, context.templates, &subject)
    });
    let env = match env {
        Ok(env) => env,
        Err(error) => {
            refuse(answer.take(ruby));
            return unserved(ruby, line, error);
        }
    };
    answer.belongs_to(ruby, env);
    let exchange = Exchange::new(ruby, context, env, line, spooled, answer);
    let called = context.app.funcall::<_, _, Value>(words(ruby).call, (env,));
    // If the app has forked without a block, the child is the app's own process, and ends as it likes.
    if context.server.forked() {
        return called.map(|_| ());
    }
    let result = called.and_then(|value| {
        exchange.returned(value);
        if answer.is_taken(ruby) {
            // Hijacked: whatever was returned (Rack suggests [-1, {}, []]) means nothing.
            return exchange.conclude();
        }
        let app = response::parse(ruby, value)?;
        let Some(protocol) = upgrade else {
            if env::handler(ruby, env)?.is_some() {
                Declined::NotAsked.log(line);
            }
            return exchange.respond(app, false);
        };
        match env::handler(ruby, env)? {
            Some(handler) if app.status < 300 => exchange.accept(protocol, peer, handler, app),
            Some(_) => {
                Declined::Status(app.status).log(line);
                exchange.respond(app, false)
            }
            None => exchange.respond(app, true),
        }
    });
    let Err(error) = result else { return Ok(()) };
    // As above: the body may have forked.
    if context.server.forked() {
        return Err(error);
    }
    // This comes before any call of Ruby, since that may end this thread.
    refuse(answer.take(ruby));
    let logged = !is_disconnected(ruby, &error);
    let Some(exception) = exception_of(ruby, line, error)? else { return Ok(()) };
    exchange.fail(exception, logged).or_else(|error| unserved(ruby, line, error))
}

/// Answers 500, if nothing was sent yet. The exception is for the log only; Rack::ShowExceptions can show it in the
/// browser.
fn refuse(responder: Option<Responder>) {
    if let Some(responder) = responder {
        responder.respond(Response::plain(http::StatusCode::INTERNAL_SERVER_ERROR));
    }
}

/// Logs an exception. Its response has been sent, or cannot be sent.
fn unserved(ruby: &Ruby, line: RequestLine<'_>, error: Error) -> Result<(), Error> {
    match exception_of(ruby, line, error)? {
        Some(exception) => log_exception(ruby, &line.to_string(), exception),
        None => Ok(()),
    }
}

/// The exception in `error`. An error from Rust has only a class and a message so far, so the exception is made here;
/// `None` if that fails, after it was logged. An `Err` must end this thread.
fn exception_of(ruby: &Ruby, line: RequestLine<'_>, error: Error) -> Result<Option<Value>, Error> {
    match error.error_type() {
        ErrorType::Jump(_) => {
            log::error!("{line}: the thread was ended in the middle of the request");
            Err(error)
        }
        ErrorType::Exception(exception) => Ok(Some(exception.as_value())),
        ErrorType::Error(class, message) => {
            let made = unless_raised(class.new_instance((ruby.str_new(message),)))?;
            if made.is_none() {
                log::error!("{line}: {message}");
            }
            Ok(made.map(|exception| exception.as_value()))
        }
    }
}
