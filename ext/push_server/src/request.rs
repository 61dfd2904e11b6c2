//! One call of the app.

use std::sync::Arc;

use bytes::Bytes;
use magnus::value::ReprValue;
use magnus::{Error, RArray, RClass, RHash, Ruby, Value};
use push_core::http::{Request, Responder, Response};
use push_core::push::Protocol;

use crate::client::Client;
use crate::handler::Handler;
use crate::response::{self, AppResponse, BodyKind};
use crate::settings::Own;
use crate::{env, input, registry};

/// What the requests of a server need.
pub struct Context<'a> {
    pub app: Value,
    pub templates: &'a [RHash],
    pub own: &'a Own,
}

/// A request that is being answered.
struct Exchange {
    env: RHash,
    /// For the log: method and path.
    line: String,
    upgradeable: bool,
    /// Until something was sent.
    responder: Option<Responder>,
}

/// What an upgrade needs of its request.
struct UpgradeRequest<'a> {
    protocol: Protocol,
    remote: String,
    headers: &'a http::HeaderMap,
}

/// Calls the app and answers. The error is what must end this thread (a `Thread#kill`): whatever
/// the app raises is answered here.
pub fn serve(ruby: &Ruby, context: &Context<'_>, request: Request) -> Result<(), Error> {
    let Request { head, body, remote, listener, upgrade, responder } = request;
    let line = format!("{} {}", head.method, head.uri.path());
    let body_length = body.len();
    let env = input::new(ruby, body).and_then(|input| {
        let template = context.templates.get(listener).copied().unwrap_or_else(|| ruby.hash_new());
        env::build(ruby, template, &head, remote, upgrade, body_length, input)
    });
    let env = match env {
        Ok(env) => env,
        Err(error) => {
            fail(ruby, &line, Some(responder), &error);
            return Err(error).or_else(only_jumps);
        }
    };
    let mut exchange = Exchange { env, line, upgradeable: upgrade.is_some(), responder: Some(responder) };
    let called = context.app.funcall::<_, _, Value>("call", (env,));
    let result = called.and_then(|value| response::parse(ruby, value)).and_then(|app| {
        let accepted = if upgrade.is_some() && app.status < 300 { handler_of(env) } else { None };
        match (upgrade, accepted) {
            (Some(protocol), Some(handler)) => {
                let upgrade = UpgradeRequest { protocol, remote: remote.to_string(), headers: &head.headers };
                exchange.accept(ruby, context, &upgrade, handler, app)
            }
            (None, _) if log::log_enabled!(log::Level::Debug) && handler_of(env).is_some() => {
                log::debug!(
                    "{}: env['rack.upgrade'] is set, but the request cannot be upgraded: ignored",
                    exchange.line
                );
                exchange.respond(ruby, app)
            }
            _ => exchange.respond(ruby, app),
        }
    });
    match result {
        Ok(()) => Ok(()),
        Err(error) => {
            if !response::disconnected(ruby, &error) {
                fail(ruby, &exchange.line, exchange.responder.take(), &error);
            }
            Err(error).or_else(only_jumps)
        }
    }
}

/// A thread that is killed must die; an exception has been answered and logged.
fn only_jumps(error: Error) -> Result<(), Error> {
    if error.value().is_some() { Ok(()) } else { Err(error) }
}

/// Logs what went wrong, and answers 500 if nothing was sent yet.
fn fail(ruby: &Ruby, line: &str, responder: Option<Responder>, error: &Error) {
    match error.value() {
        Some(class_or_exception) => {
            let exception = exception_of(error, class_or_exception);
            crate::log_exception(ruby, line, exception);
        }
        None => log::error!("{line}: the thread was ended in the middle of the request"),
    }
    if let Some(responder) = responder {
        // What was raised is for the log; ShowExceptions is there for those who want to see it.
        responder.respond(Response::plain(http::StatusCode::INTERNAL_SERVER_ERROR));
    }
}

/// An error made in Rust has a class and a message so far.
fn exception_of(error: &Error, value: Value) -> Value {
    match RClass::from_value(value) {
        Some(class) => {
            let text = error.to_string();
            let message = text.split_once(": ").map_or(text.as_str(), |(_, message)| message);
            class.funcall("new", (message,)).unwrap_or(value)
        }
        None => value,
    }
}

fn handler_of(env: RHash) -> Option<Value> {
    let ruby = Ruby::get_with(env);
    env.get(env::word(&ruby, "rack.upgrade")).filter(|handler| handler.to_bool())
}

impl Exchange {
    /// An ordinary response.
    fn respond(&mut self, ruby: &Ruby, app: AppResponse) -> Result<(), Error> {
        let AppResponse { status, headers, body } = app;
        let mut close = Close(Some(body));
        let sent = self.send(ruby, status, headers, body, &mut close);
        let closed = close.now();
        self.finished(ruby, status, sent.as_ref().err());
        sent.and(closed)
    }

    fn send(
        &mut self,
        ruby: &Ruby,
        status: i64,
        headers: http::HeaderMap,
        body: Value,
        close: &mut Close,
    ) -> Result<(), Error> {
        let response = Response::new(status, headers).map_err(|error| response::app_error(ruby, error))?;
        let Some(responder) = self.responder.take() else { return Ok(()) };
        let (kind, closed) = match response::body_kind(ruby, body) {
            Ok(kind) => kind,
            Err(error) => {
                self.responder = Some(responder);
                return Err(error);
            }
        };
        if closed {
            close.forget();
        }
        if self.upgradeable
            && status < 300
            && matches!(&kind, BodyKind::Whole(chunks) if chunks.iter().all(Bytes::is_empty))
        {
            log::debug!(
                "{}: could be upgraded, but gets an empty response without env['rack.upgrade'] being set in the \
                 server's env (a middleware that copies env loses it)",
                self.line
            );
        }
        let sends_body = response.sends_body(responder.method());
        match kind {
            // How long it would be is the app's to say.
            BodyKind::Each if !sends_body => {
                responder.respond(response.without_body());
            }
            BodyKind::Whole(_) if !sends_body && response.has_length() => {
                responder.respond(response.without_body());
            }
            BodyKind::Whole(chunks) => {
                responder.respond(response.with_chunks(chunks));
            }
            BodyKind::Each => {
                response::send_each(ruby, body, responder, response).map_err(|(error, responder)| {
                    self.responder = responder;
                    error
                })?;
            }
        }
        Ok(())
    }

    /// Accepts an upgrade: everything that belongs to the request is finished before `on_open`.
    fn accept(
        &mut self,
        ruby: &Ruby,
        context: &Context<'_>,
        upgrade: &UpgradeRequest<'_>,
        handler: Value,
        app: AppResponse,
    ) -> Result<(), Error> {
        let mut close = Close(Some(app.body));
        let handler = Handler::attach(ruby, handler)?;
        let kept = env::trimmed(ruby, self.env)?;
        close.now()?;
        let wire_status = if upgrade.protocol == Protocol::WebSocket { 101 } else { 200 };
        self.finished(ruby, wire_status, None);
        let Some(responder) = self.responder.take() else { return Ok(()) };
        let acceptance = responder.accept(
            upgrade.protocol,
            upgrade.remote.clone(),
            upgrade.headers,
            &app.headers,
            handler.interest(),
        );
        let core = acceptance.client();
        let id = core.id();
        let client = Client::wrap(ruby, Arc::clone(core), context.own, kept, handler);
        registry::insert(ruby, id, client);
        acceptance.send();
        Ok(())
    }

    /// Calls what the app left in rack.response_finished, the last first (Rack 3 SPEC).
    fn finished(&self, ruby: &Ruby, status: i64, error: Option<&Error>) {
        let callables = self.env.get(env::word(ruby, "rack.response_finished")).and_then(RArray::from_value);
        let Some(callables) = callables.filter(|callables| !callables.is_empty()) else { return };
        let error = error.and_then(|error| Some(exception_of(error, error.value()?)));
        for index in (0..callables.len()).rev() {
            let called = callables
                .entry::<Value>(index as isize)
                .and_then(|callable| callable.funcall::<_, _, Value>("call", (self.env, status, ruby.qnil(), error)));
            if let Err(error) = called
                && let Some(value) = error.value()
            {
                let place = format!("rack.response_finished of {}", self.line);
                crate::log_exception(ruby, &place, exception_of(&error, value));
            }
        }
    }
}

/// A body's `close`, to be called exactly once, however the request ends.
struct Close(Option<Value>);

impl Close {
    fn now(&mut self) -> Result<(), Error> {
        match self.0.take() {
            Some(body) if body.respond_to("close", false)? => body.funcall::<_, _, Value>("close", ()).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// The body has closed itself.
    fn forget(&mut self) {
        self.0 = None;
    }
}
