//! One call of the app.

use magnus::error::ErrorType;
use magnus::value::ReprValue;
use magnus::{Class, Error, Ruby, Value};
use push_core::http::request::RequestBody;
use push_core::http::{Request, Responder, Response};

use crate::app::context::ThreadContext;
use crate::app::declined::Declined;
use crate::app::exchange::Exchange;
use crate::app::input;
use crate::app::request_line::RequestLine;
use crate::rack::{env, response};
use crate::ruby::answer::{self, Answer};
use crate::support::interned::words;
use crate::support::jump::unless_raised;
use crate::support::library::{self, is_disconnected, log_exception};

/// Calls the app and answers the request. An exception of the app is answered with 500. The error is a jump.
pub fn serve(ruby: &Ruby, context: &ThreadContext<'_>, request: Request) -> Result<(), Error> {
    let Request { head, body, peer, https, client_certificate, listener, upgrade, responder } = request;
    let line = RequestLine(&head);
    let spooled = matches!(body, RequestBody::Spooled(_));
    let body_length = body.len();
    let answer = answer::open(ruby, responder);
    context.answer.set(Some(answer));
    let env = input::new(ruby, body).and_then(|input| {
        let answer = answer.as_value();
        let subject = env::Subject { head: &head, listener, peer, https, upgrade, body_length, input, answer };
        let env = env::build(ruby, context.templates, &subject)?;
        if let Some(certificate) = &client_certificate {
            library::add_client_certificate(ruby, env, &certificate.0)?;
        }
        Ok(env)
    });
    let env = match env {
        Ok(env) => env,
        Err(error) => {
            refuse(Answer::take(ruby, answer));
            return unserved(ruby, line, error);
        }
    };
    Answer::set_env(ruby, answer, env);
    let exchange = Exchange::new(ruby, context, env, line, spooled, answer);
    let called = context.app.funcall::<_, _, Value>(words(ruby).call, (env,));
    // A child that the app has forked without a block must not answer the request: its parent does.
    if context.server.forked() {
        return called.map(|_| ());
    }
    let result = called.and_then(|value| {
        exchange.returned(value);
        if Answer::is_taken(ruby, answer) {
            // The connection is hijacked, so the app's response has no meaning (Rack suggests [-1, {}, []]).
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
    // As above, for a body that has forked.
    if context.server.forked() {
        return Err(error);
    }
    // This comes before any call of Ruby, because that may end this thread.
    refuse(Answer::take(ruby, answer));
    let logged = !is_disconnected(ruby, &error);
    let Some(exception) = exception_of(ruby, line, error)? else { return Ok(()) };
    exchange.fail(exception, logged).or_else(|error| unserved(ruby, line, error))
}

/// Answers 500, if nothing was sent yet. The response says nothing about the exception; Rack::ShowExceptions can show
/// it in the browser.
fn refuse(responder: Option<Responder>) {
    if let Some(responder) = responder {
        responder.respond(Response::plain(http::StatusCode::INTERNAL_SERVER_ERROR));
    }
}

/// Logs an exception whose response has been sent, or cannot be sent. The error is a jump.
fn unserved(ruby: &Ruby, line: RequestLine<'_>, error: Error) -> Result<(), Error> {
    match exception_of(ruby, line, error)? {
        Some(exception) => log_exception(ruby, &line.to_string(), exception),
        None => Ok(()),
    }
}

/// The exception in `error`. For an error from Rust, which has only a class and a message, the exception is made here;
/// `None` if that raises, after the message was logged. The error is a jump.
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
