//! A client's events, as calls of its handler.

use magnus::typed_data::Obj;
use magnus::value::{IntoId, OpaqueId, ReprValue};
use magnus::{Error, Ruby, Value};
use push_core::push::{Event, Message, Turn};
use push_core::websocket::close::CloseStatus;

use crate::ruby::callbacks::around;
use crate::ruby::client::Client;
use crate::ruby::{client_channels, registry};
use crate::support::fields::string_of;
use crate::support::handler::{Handler, OnClose};
use crate::support::interned::words;
use crate::support::library::log_exception;

/// How many events of one client run before other clients get a turn.
const EVENTS_PER_TURN: usize = 32;

/// Runs a client's events. The error is a jump. In a child that a callback has forked without a block, it can
/// also be the exception of that callback.
pub fn run(ruby: &Ruby, turn: &Turn) -> Result<(), Error> {
    // A client is registered before its first event is posted, and until its last event has run.
    let Some(client) = registry::get(ruby, turn.client().id()) else {
        log::error!("{} has events, but is not registered", turn.client());
        while turn.next_event().is_some() {}
        return Ok(());
    };
    for _ in 0..EVENTS_PER_TURN {
        let Some(event) = turn.next_event() else { break };
        dispatch(ruby, turn, client, event)?;
    }
    Ok(())
}

fn dispatch(ruby: &Ruby, turn: &Turn, client: Obj<Client>, event: Event) -> Result<(), Error> {
    let (handler, words) = (client.handler(ruby), words(ruby));
    match event {
        Event::Open => {
            let called = on_open(ruby, client, &handler);
            begin_replay(ruby, turn, client);
            called
        }
        Event::Message(message) if handler.on_message => {
            let data = match &message {
                Message::Text(bytes) => string_of(ruby, true, bytes),
                Message::Binary(bytes) => string_of(ruby, false, bytes),
            };
            call(ruby, client, &handler, words.on_message, &[client.as_value(), data.as_value()])
        }
        Event::Drained if handler.on_drained => call(ruby, client, &handler, words.on_drained, &[client.as_value()]),
        Event::Gap(channel) if handler.on_gap => {
            let channel = ruby.str_new(&channel).as_value();
            call(ruby, client, &handler, words.on_gap, &[client.as_value(), channel])
        }
        Event::Message(_) | Event::Drained | Event::Gap(_) => Ok(()),
        Event::Published(number) => {
            client_channels::each_published(ruby, turn, client, number, |callable, channel, data| {
                let called = invoke(ruby, client, callable, words.call, &[channel.as_value(), data.as_value()]);
                rescue(ruby, client, &handler, words.call, called)
            })
        }
        Event::Shutdown => {
            let called = if handler.on_shutdown {
                call(ruby, client, &handler, words.on_shutdown, &[client.as_value()])
            } else {
                Ok(())
            };
            turn.client().close(turn.client().context().shutdown_status());
            called
        }
        Event::Swap => swap(ruby, turn, client, &handler),
        Event::Close => {
            let status = turn.client().close_status();
            let called = on_close(ruby, client, &handler, status);
            forget(ruby, turn, client);
            called
        }
        Event::Abandoned => {
            forget(ruby, turn, client);
            Ok(())
        }
    }
}

fn on_open(ruby: &Ruby, client: Obj<Client>, handler: &Handler) -> Result<(), Error> {
    if handler.on_open { call(ruby, client, handler, words(ruby).on_open, &[client.as_value()]) } else { Ok(()) }
}

fn on_close(ruby: &Ruby, client: Obj<Client>, handler: &Handler, status: Option<CloseStatus>) -> Result<(), Error> {
    let client_alone = [client.as_value()];
    match handler.on_close {
        OnClose::Absent => Ok(()),
        OnClose::Client => call(ruby, client, handler, words(ruby).on_close, &client_alone),
        OnClose::ClientCodeReason => {
            let nil = ruby.qnil().as_value();
            let (code, reason) = match status {
                Some(status) => {
                    (ruby.integer_from_u64(status.code.into()).as_value(), ruby.str_new(&status.reason).as_value())
                }
                None => (nil, nil),
            };
            call(ruby, client, handler, words(ruby).on_close, &[client.as_value(), code, reason])
        }
    }
}

fn swap(ruby: &Ruby, turn: &Turn, client: Obj<Client>, old: &Handler) -> Result<(), Error> {
    let Some(new) = client.take_next_handler(ruby) else { return Ok(()) };
    let closed = on_close(ruby, client, old, None);
    // A child that the callback has forked without a block must not call another callback.
    if client.forked() {
        return closed;
    }
    client.set_current_handler(ruby, new);
    turn.client().set_interest(client.wanted(ruby));
    let called = closed.and_then(|()| on_open(ruby, client, &new));
    begin_replay(ruby, turn, client);
    called
}

/// Called after on_open, also if it has raised: all its subscriptions are replayed together now. If it has set another
/// handler, this waits for the on_open of that handler, which may subscribe too.
fn begin_replay(ruby: &Ruby, turn: &Turn, client: Obj<Client>) {
    if !client.is_swapped(ruby) {
        turn.client().begin_replay();
    }
}

/// Called after the last callback.
fn forget(ruby: &Ruby, turn: &Turn, client: Obj<Client>) {
    client.release(ruby);
    registry::remove(ruby, turn.client().id());
    turn.client().retire();
}

/// Calls one callback. Its exceptions go to `on_error`, or into the log. The error is as for [`run`].
fn call(ruby: &Ruby, client: Obj<Client>, handler: &Handler, event: OpaqueId, args: &[Value]) -> Result<(), Error> {
    let called = invoke(ruby, client, handler.object, event, args);
    rescue(ruby, client, handler, event, called)
}

fn rescue(
    ruby: &Ruby,
    client: Obj<Client>,
    handler: &Handler,
    event: OpaqueId,
    called: Result<(), Error>,
) -> Result<(), Error> {
    let Err(error) = called else { return Ok(()) };
    // In a child that the callback has forked without a block, the exception is the app's own business.
    let Some(exception) = error.value().filter(|_| !client.forked()) else { return Err(error) };
    if handler.on_error {
        let args = [client.as_value(), exception];
        let Err(error) = invoke(ruby, client, handler.object, words(ruby).on_error, &args) else { return Ok(()) };
        let Some(exception) = error.value() else { return Err(error) };
        log_exception(ruby, "on_error", exception)
    } else {
        log_exception(ruby, &name_of(ruby, event), exception)
    }
}

fn invoke(ruby: &Ruby, client: Obj<Client>, object: Value, event: OpaqueId, args: &[Value]) -> Result<(), Error> {
    client.enter(ruby);
    let result = match around(ruby) {
        None => object.funcall_public::<_, _, Value>(event, args),
        Some(around) => {
            let call = (client, ruby.to_symbol(name_of(ruby, event)), object, ruby.ary_new_from_values(args));
            around.funcall::<_, _, Value>("call", call)
        }
    };
    client.leave(ruby);
    result.map(|_| ())
}

fn name_of(ruby: &Ruby, event: OpaqueId) -> String {
    event.into_id_with(ruby).name().map(str::to_owned).unwrap_or_default()
}
