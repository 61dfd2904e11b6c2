//! What an app has returned, on its way to the client.

use std::cell::Cell;
use std::sync::Arc;

use magnus::block::Proc;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Error, RArray, RHash, Ruby, Value};
use push_core::http::headers::has_token;
use push_core::http::{Responder, Response, files};
use push_core::net::Peer;
use push_core::push::Protocol;

use crate::app::context::ThreadContext;
use crate::app::declined::Declined;
use crate::app::input;
use crate::app::request_line::RequestLine;
use crate::rack::body::{BodyKind, body_kind, is_plain_array};
use crate::rack::env;
use crate::rack::hijack::take_socket;
use crate::rack::response::AppResponse;
use crate::rack::streamed_body::send_each;
use crate::ruby::answer::Answer;
use crate::ruby::body_stream::BodyStream;
use crate::ruby::client::Client;
use crate::ruby::registry;
use crate::support::errors::type_error;
use crate::support::handler::Handler;
use crate::support::interned::words;
use crate::support::jump::{is_jump, lookup};
use crate::support::library::{self, ResponseArguments};

/// A request whose app has been called. It lives on the stack, where the garbage collector sees its VALUEs.
pub struct Exchange<'a> {
    pub ruby: &'a Ruby,
    pub context: &'a ThreadContext<'a>,
    pub env: RHash,
    pub line: RequestLine<'a>,
    /// Whether the request's body is in a file.
    spooled: bool,
    /// Has the responder until something is sent.
    pub answer: Obj<Answer>,
    returned: Cell<Returned>,
    concluded: Cell<bool>,
    /// Whether a stream, which may outlive the call, reads from the request's body.
    keeps_input: Cell<bool>,
}

/// What ending a response needs.
#[derive(Clone, Copy, Default)]
struct Returned {
    status: Option<i64>,
    headers: Option<Value>,
    /// The body, if it must be closed.
    body: Option<Value>,
}

impl<'a> Exchange<'a> {
    pub fn new(
        ruby: &'a Ruby,
        context: &'a ThreadContext<'a>,
        env: RHash,
        line: RequestLine<'a>,
        spooled: bool,
        answer: Obj<Answer>,
    ) -> Self {
        let (returned, concluded, keeps_input) = (Cell::default(), Cell::default(), Cell::default());
        Exchange { ruby, context, env, line, spooled, answer, returned, concluded, keeps_input }
    }

    /// Called with what the app has returned. Its body is closed later, also if the rest cannot be sent.
    pub fn returned(&self, value: Value) {
        let parts = RArray::from_value(value).filter(|parts| parts.len() == 3);
        let part = |index| parts.and_then(|parts| parts.entry::<Value>(index).ok());
        self.returned.set(Returned { status: None, headers: part(1), body: part(2) });
    }

    fn update(&self, change: impl FnOnce(&mut Returned)) {
        let mut returned = self.returned.get();
        change(&mut returned);
        self.returned.set(returned);
    }

    /// Ends the response; called again, it does nothing. Closes the body, calls what is in rack.response_finished, and
    /// closes a request body that is in a file, so that the file does not exist until it is collected.
    pub fn conclude(&self) -> Result<(), Error> {
        if self.concluded.replace(true) { Ok(()) } else { self.release_input(self.finish()) }
    }

    fn release_input(&self, finished: Result<(), Error>) -> Result<(), Error> {
        if finished.as_ref().is_err_and(is_jump) || !self.spooled || self.keeps_input.get() {
            return finished;
        }
        finished.and(input::close(self.ruby, self.env))
    }

    /// Logs `exception`, if `logged`, and ends the response if it has not ended.
    pub fn fail(&self, exception: Value, logged: bool) -> Result<(), Error> {
        let concluded = self.concluded.replace(true);
        let failed = library::fail_response(self.ruby, exception, logged, !concluded, self.response_arguments());
        if concluded { failed } else { self.release_input(failed) }
    }

    fn finish(&self) -> Result<(), Error> {
        let ruby = self.ruby;
        let closes = match self.returned.get().body {
            Some(body) => !is_plain_array(ruby, body) && body.respond_to("close", false)?,
            None => false,
        };
        let callables =
            lookup(self.env, ruby.get_inner(words(ruby).rack_response_finished))?.and_then(RArray::from_value);
        // Most responses need no call of Ruby here.
        if !closes && callables.is_none_or(|callables| callables.is_empty()) {
            return Ok(());
        }
        library::finish_response(ruby, self.response_arguments())
    }

    /// Runs a body's own code, or the callable of a hijack: `each` with `block`, or `call` with `argument`.
    fn run(&self, target: Value, method: &str, argument: Value, block: Option<Proc>) -> Result<(), Error> {
        let call = (target, self.ruby.to_symbol(method), argument, block);
        let result = library::run_body(self.ruby, call, self.response_arguments());
        // After a jump, nothing of Ruby may be called here. Ruby's half has ended the response.
        if result.as_ref().is_err_and(is_jump) {
            self.concluded.set(true);
        }
        result
    }

    fn response_arguments(&self) -> ResponseArguments {
        let Returned { status, headers, body } = self.returned.get();
        ResponseArguments { body, line: self.line.to_string(), env: self.env, status, headers }
    }

    /// Sends an ordinary response.
    pub fn respond(&self, app: AppResponse, upgradeable: bool) -> Result<(), Error> {
        self.update(|returned| returned.status = Some(app.status));
        self.send(app, upgradeable)?;
        self.conclude()
    }

    fn send(&self, app: AppResponse, upgradeable: bool) -> Result<(), Error> {
        let ruby = self.ruby;
        let AppResponse { status, headers, body, hijack, protocol } = app;
        if let Some(protocol) = protocol.filter(|protocol| self.asks_for(protocol)) {
            return self.take_over(Response::switching(&protocol, headers), body);
        }
        let response = Response::new(status, headers).map_err(|error| type_error(ruby, error))?;
        if let Some(callable) = hijack {
            return self.take_over(response, callable);
        }
        let (kind, closed) = body_kind(ruby, body, &response)?;
        if closed {
            self.update(|returned| returned.body = None);
        }
        // These statuses are meant to have no body: 202 and 205 answer a POST, and 204 ends an EventSource for good.
        let says_nothing = matches!(status, 202 | 204 | 205);
        if upgradeable && status < 300 && !says_nothing && kind.is_empty() {
            Declined::NoHandler.log(self.line);
        }
        let owner = if upgradeable { env::session_owner(ruby, self.env)? } else { None };
        let Some(mut responder) = Answer::take(ruby, self.answer) else { return Ok(()) };
        responder.set_owner(owner);
        let sends_body = response.sends_body(responder.method());
        match kind {
            // How long it would be is the app's to say.
            BodyKind::Each | BodyKind::Call if !sends_body => {
                responder.respond(response.without_body());
            }
            BodyKind::Whole(_) | BodyKind::Parts(_) if !sends_body && response.has_length() => {
                responder.respond(response.without_body());
            }
            BodyKind::Whole(bytes) => {
                responder.respond(response.with_bytes(bytes));
            }
            BodyKind::Parts(parts) => {
                responder.respond(response.with_chunks(parts));
            }
            BodyKind::File { file, length } => {
                responder.respond(files::send_file(response, file, length, self.line.0));
            }
            BodyKind::Each => {
                if !self.begins_streaming() {
                    return self.refuse(responder);
                }
                let each = |block| self.run(body, "each", ruby.qnil().as_value(), Some(block));
                send_each(ruby, each, responder, response).map_err(|(error, responder)| {
                    if let Some(responder) = responder {
                        Answer::put(ruby, self.answer, responder);
                    }
                    error
                })?;
            }
            BodyKind::Call => {
                if !self.begins_streaming() {
                    return self.refuse(responder);
                }
                let input = lookup(self.env, ruby.get_inner(words(ruby).rack_input))?;
                let input = input.unwrap_or_else(|| ruby.qnil().as_value());
                self.keeps_input.set(true);
                let stream = BodyStream::wrap(ruby, input, responder.stream(response));
                self.run(body, "call", stream.as_value(), None).inspect_err(|_| stream.abandon(ruby))?;
            }
        }
        Ok(())
    }

    /// Called before the app thread streams a body, which may take for ever. False if too many app threads do.
    fn begins_streaming(&self) -> bool {
        let streaming = self.context.app_threads.stream();
        let begins = streaming.is_some();
        self.context.streaming.set(streaming);
        begins
    }

    fn refuse(&self, responder: Responder) -> Result<(), Error> {
        log::debug!("{}: 503, too many bodies are being streamed (max_streaming)", self.line);
        responder.respond(Response::unavailable());
        Ok(())
    }

    /// Whether the request asks for the protocol that the app chose (Rack 3.1's `rack.protocol`).
    fn asks_for(&self, chosen: &str) -> bool {
        has_token(self.line.0, "upgrade", chosen)
    }

    /// Sends a head, and calls `callable` with the socket behind it.
    fn take_over(&self, response: Response, callable: Value) -> Result<(), Error> {
        let Some(responder) = Answer::take(self.ruby, self.answer) else { return Ok(()) };
        if !self.begins_streaming() {
            return self.refuse(responder);
        }
        let socket = take_socket(self.ruby, responder, Some(response))?;
        self.run(callable, "call", socket, None)
    }

    /// Accepts an upgrade: everything that belongs to the request is finished before `on_open`.
    pub fn accept(&self, protocol: Protocol, peer: Peer, handler: Value, app: AppResponse) -> Result<(), Error> {
        let ruby = self.ruby;
        let handler = Handler::attach(ruby, handler)?;
        let kept = env::trimmed(ruby, self.env)?;
        let owner = env::session_owner(ruby, self.env)?;
        self.update(|returned| returned.status = Some(protocol.status().as_u16().into()));
        self.conclude()?;
        // The body's `close` may have forked, or something in rack.response_finished.
        if self.context.server.forked() {
            return Ok(());
        }
        let Some(mut responder) = Answer::take(ruby, self.answer) else { return Ok(()) };
        responder.set_owner(owner);
        // If the poll belongs to a session, the session's client goes on with its own handler.
        let Err(responder) = responder.resume(&app.headers) else { return Ok(()) };
        let acceptance =
            responder.accept(protocol, peer, self.line.0, &app.headers, handler.interest(), handler.compress);
        let core = acceptance.client();
        let id = core.id();
        let client = Client::wrap(ruby, Arc::clone(core), self.context.own, kept, handler);
        registry::insert(ruby, id, client);
        acceptance.send();
        Ok(())
    }
}
