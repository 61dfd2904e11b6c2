//! What an app returned, on its way to the client.

use std::sync::Arc;

use http::header::{HeaderValue, RETRY_AFTER};
use http::request::Parts;
use magnus::value::ReprValue;
use magnus::{Error, RArray, RHash, Ruby, Value};
use push_core::http::{Responder, Response};
use push_core::push::Protocol;

use crate::body_stream::BodyStream;
use crate::client::Client;
use crate::handler::Handler;
use crate::hijack::{Answer, take_socket};
use crate::request::{Context, exception_of};
use crate::response::{self, AppResponse, BodyKind};
use crate::workers::Streaming;
use crate::{env, registry};

/// A request whose app has been called.
pub struct Exchange<'a> {
    pub ruby: &'a Ruby,
    pub context: &'a Context<'a>,
    pub env: RHash,
    /// For the log: method and path.
    pub line: &'a str,
    pub request: &'a Parts,
    /// Holds the responder until something was sent.
    pub answer: &'a Answer,
}

/// What an upgrade needs of its request.
pub struct UpgradeRequest {
    pub protocol: Protocol,
    pub remote: String,
}

impl Exchange<'_> {
    /// Sends an ordinary response.
    pub fn respond(&self, app: AppResponse, upgradeable: bool) -> Result<(), Error> {
        let status = app.status;
        let mut close = Close(Some(app.body));
        let sent = self.send(app, upgradeable, &mut close);
        let closed = close.now();
        self.finished(status, sent.as_ref().err());
        sent.and(closed)
    }

    /// The app has taken the connection; only its body is left to be closed.
    pub fn finish_hijacked(&self, value: Value) -> Result<(), Error> {
        let body = RArray::from_value(value).filter(|parts| parts.len() == 3).map(|parts| parts.entry::<Value>(2));
        let closed = match body {
            Some(body) => Close(Some(body?)).now(),
            None => Ok(()),
        };
        self.finished(-1, closed.as_ref().err());
        closed
    }

    fn send(&self, app: AppResponse, upgradeable: bool, close: &mut Close) -> Result<(), Error> {
        let ruby = self.ruby;
        let AppResponse { status, headers, body, hijack, protocol } = app;
        if let Some(protocol) = protocol.and_then(|protocol| self.requested(&protocol)) {
            return self.take_over(Response::switching(protocol, headers), body);
        }
        let response = Response::new(status, headers).map_err(|error| response::app_error(ruby, error))?;
        if let Some(callable) = hijack {
            return self.take_over(response, callable);
        }
        let (kind, closed) = response::body_kind(ruby, body, &response)?;
        if closed {
            close.forget();
        }
        if upgradeable && status < 300 && kind.is_empty() {
            log::debug!(
                "{}: could be upgraded, but gets an empty response without env['rack.upgrade'] being set in the \
                 server's env (a middleware that copies env loses it)",
                self.line
            );
        }
        let Some(responder) = self.answer.take() else { return Ok(()) };
        let sends_body = response.sends_body(responder.method());
        match kind {
            // How long it would be is the app's to say.
            BodyKind::Each | BodyKind::Call if !sends_body => {
                responder.respond(response.without_body());
            }
            BodyKind::Whole(_) | BodyKind::File { .. } if !sends_body && response.has_length() => {
                responder.respond(response.without_body());
            }
            BodyKind::Whole(chunks) => {
                responder.respond(response.with_chunks(chunks));
            }
            BodyKind::File { file, length } => {
                responder.respond(response.with_file(file, length));
            }
            BodyKind::Each => {
                let Some(_streaming) = self.streaming() else { return self.refuse(responder) };
                response::send_each(ruby, body, responder, response).map_err(|(error, responder)| {
                    if let Some(responder) = responder {
                        self.answer.put(responder);
                    }
                    error
                })?;
            }
            BodyKind::Call => {
                let Some(_streaming) = self.streaming() else { return self.refuse(responder) };
                let (writer, response) = response.with_stream();
                responder.respond(response);
                let input = self.env.get(env::word(ruby, "rack.input")).unwrap_or_else(|| ruby.qnil().as_value());
                let stream = BodyStream::wrap(ruby, input, writer);
                let called: Result<Value, Error> = body.funcall("call", (stream,));
                if called.is_err() {
                    stream.abandon(ruby);
                }
                called?;
            }
        }
        Ok(())
    }

    /// The worker is about to be busy for as long as the app likes; `None` if too many are.
    fn streaming(&self) -> Option<Streaming> {
        self.context.workers.stream()
    }

    fn refuse(&self, responder: Responder) -> Result<(), Error> {
        log::debug!("{}: 503, too many bodies are being streamed (max_streaming)", self.line);
        let response = Response::plain(http::StatusCode::SERVICE_UNAVAILABLE);
        responder.respond(response.with(RETRY_AFTER, HeaderValue::from_static("1")));
        Ok(())
    }

    /// The name of a protocol that the app chose (Rack 3.1's `rack.protocol`), if it was asked for.
    fn requested(&self, chosen: &str) -> Option<HeaderValue> {
        let asked = self.request.headers.get_all(http::header::UPGRADE).iter().filter_map(|line| line.to_str().ok());
        let asked = asked.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case(chosen));
        HeaderValue::from_str(chosen).ok().filter(|_| asked)
    }

    /// Sends a head, and calls `callable` with the socket behind it.
    fn take_over(&self, response: Response, callable: Value) -> Result<(), Error> {
        let Some(responder) = self.answer.take() else { return Ok(()) };
        let Some(_streaming) = self.streaming() else { return self.refuse(responder) };
        let socket = take_socket(self.ruby, responder, response.into_raw_head())?;
        callable.funcall::<_, _, Value>("call", (socket,)).map(|_| ())
    }

    /// Accepts an upgrade: everything that belongs to the request is finished before `on_open`.
    pub fn accept(&self, upgrade: &UpgradeRequest, handler: Value, app: AppResponse) -> Result<(), Error> {
        let ruby = self.ruby;
        let mut close = Close(Some(app.body));
        let handler = Handler::attach(ruby, handler)?;
        let kept = env::trimmed(ruby, self.env)?;
        close.now()?;
        self.finished(if upgrade.protocol == Protocol::WebSocket { 101 } else { 200 }, None);
        let Some(responder) = self.answer.take() else { return Ok(()) };
        let acceptance = responder.accept(
            upgrade.protocol,
            upgrade.remote.clone(),
            &self.request.headers,
            &app.headers,
            handler.interest(),
        );
        let core = acceptance.client();
        let id = core.id();
        let client = Client::wrap(ruby, Arc::clone(core), self.context.own, kept, handler);
        registry::insert(ruby, id, client);
        acceptance.send();
        Ok(())
    }

    /// Calls what the app left in rack.response_finished, the last first (Rack 3 SPEC).
    fn finished(&self, status: i64, error: Option<&Error>) {
        let ruby = self.ruby;
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
