//! `PushServer::Channels`: the channels of this process. `lib/push_server/channels.rb` has what apps call.
//!
//! **Locks and the GVL.** A message gets its number under a lock that is held for one insertion. The log has another
//! lock. The reactor holds that for a batch of messages, for the wake-ups of their readers, or for a sweep of a few
//! thousand channels. No holder of either lock waits for the GVL or runs Ruby. So a thread that waits for these locks
//! with the GVL cannot deadlock, and waits a short time. Publishing takes the log's lock only if the reactor is far
//! behind, and then releases the GVL. A thread that waits for an engine, because it takes no messages or numbers
//! them later, releases the GVL, too, and Ruby can interrupt it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RArray, RHash, RModule, RString, Ruby, Symbol, Value, function};
use push_core::channel::{self, Cancel, Channels, Draft, EventName, Kind, Message, Policy, Post, Posted, Slow, Unsent};

use crate::ruby::client::Client;
use crate::ruby::cursor::{Cursor, catch_up, settle, settle_members};
use crate::ruby::own_channels::{await_hub, channels, server_outside, settle_within, use_hub, with_process};
use crate::ruby::{outside, registry};
use crate::support::developer_hints;
use crate::support::errors::{argument_error, channel_error};
use crate::support::fields::{field, given, is_text, is_utf8, kind_of, name, payload, since};
use crate::support::gvl::{check_interrupts, without_gvl, without_gvl_for_a_moment};
use crate::support::library::{engine_error, server_error};

pub fn init(module: RModule) -> Result<(), Error> {
    let channels = module.define_module("Channels")?;
    channels.define_singleton_method("define", function!(define, 5))?;
    channels.define_singleton_method("publish", function!(publish, 6))?;
    channels.define_singleton_method("fits?", function!(fits, 3))?;
    channels.define_singleton_method("cursor", function!(cursor, 0))?;
    channels.define_singleton_method("history", function!(history, 3))?;
    channels.define_singleton_method("present", function!(present, 1))?;
    channels.define_singleton_method("names", function!(names, 0))?;
    channels.define_singleton_method("disconnect", function!(disconnect, 1))?;
    channels.define_singleton_method("close_connection", function!(outside::close, 0))?;
    channels.define_singleton_method("use_hub", function!(use_hub, 4))?;
    channels.define_singleton_method("await_hub", function!(await_hub, 1))?;
    channels.define_singleton_method("settle", function!(settle_within, 1))
}

fn define(
    ruby: &Ruby,
    glob: Value,
    history: usize,
    ttl: Option<f64>,
    slow: Symbol,
    presence: bool,
) -> Result<(), Error> {
    let glob = name(ruby, "channel", glob)?;
    if glob.is_empty() {
        return Err(channel_error(ruby, &channel::Error::EmptyName));
    }
    let slow = match &*slow.name()? {
        "resume" => Slow::Resume,
        "drop" => Slow::Drop,
        "latest" => Slow::Latest,
        other => {
            let message = format!("slow: can be :resume, :drop or :latest, not :{other}");
            return Err(argument_error(ruby, message));
        }
    };
    let ttl = ttl.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
    let policy = Policy { history, ttl, slow, presence };
    with_process(ruby, |process| process.define(glob, policy))
}

/// The event's name, as it was given: `false` is the default.
fn event_name(event: &Option<Option<String>>) -> EventName<&str> {
    match event {
        None => EventName::Default,
        Some(None) => EventName::Nameless,
        Some(Some(event)) => EventName::Given(event.as_str()),
    }
}

/// Whether the channels of this process can hold a text. The error is what `publish` would raise for another reason.
fn fits(ruby: &Ruby, channel: Value, data: RString, event: Value) -> Result<bool, Error> {
    let channel = name(ruby, "channel", channel)?;
    let event = given(event).map(|event| field(ruby, "event", event)).transpose()?;
    // An error if it is not valid.
    is_text(ruby, "publish", data)?;
    let limits = channels(ruby)?.limits();
    // SAFETY: nothing calls Ruby while the slice is used.
    let payload = unsafe { data.as_slice() };
    let draft = Draft { event: event_name(&event), ..Draft::text(&channel, payload) };
    match Message::new(&draft, &limits, Instant::now()) {
        Ok(_) => Ok(true),
        Err(channel::Error::TooLarge { .. }) => Ok(false),
        Err(error) => Err(channel_error(ruby, &error)),
    }
}

/// Flags of [`publish`], as `Channels` in lib/ has them.
const STORE: u8 = 1;
const COMPRESS: u8 = 2;

/// Releases the GVL if the reactor is so far behind that this thread must help.
fn publish(
    ruby: &Ruby,
    channel: Value,
    data: RString,
    event: Value,
    flags: u8,
    except: Option<Obj<Client>>,
    binary: Option<bool>,
) -> Result<Obj<Cursor>, Error> {
    let channel = name(ruby, "channel", channel)?;
    let event = given(event).map(|event| field(ruby, "event", event)).transpose()?;
    developer_hints::event_name(event.is_some());
    let event = event_name(&event);
    let kind = match binary {
        None => kind_of(ruby, "publish", data)?,
        Some(true) => Kind::Binary,
        Some(false) if is_text(ruby, "publish", data)? || is_utf8(data) => Kind::Text,
        Some(false) => {
            let message = "the String is not valid UTF-8: use scrub, or as: :binary";
            return Err(argument_error(ruby, message));
        }
    };
    let except = except.map(|client| client.id());
    let (store, compress) = (flags & STORE != 0, flags & COMPRESS != 0);
    if let Some(server) = server_outside(ruby)? {
        // SAFETY: nothing calls Ruby while the slice is used.
        let payload = unsafe { data.as_slice() };
        let draft = Draft { channel: &channel, payload, kind, event, store, except, compress };
        return outside::publish(ruby, &server, &draft);
    }
    let posted = with_process(ruby, |process| {
        // SAFETY: nothing calls Ruby while the slice is used.
        let payload = unsafe { data.as_slice() };
        let draft = Draft { channel: &channel, payload, kind, event, store, except, compress };
        process.channels().post(&draft, Instant::now())
    })?;
    let channels = channels(ruby)?;
    let posted = match posted.map_err(|error| channel_error(ruby, &error))? {
        Post::Done(posted) => posted,
        Post::Full(unsent) => post_later(ruby, &channels, unsent)?,
    };
    if posted.behind {
        // If a pending interrupt prevents that, this is done with the GVL, since the log must not grow without bound.
        if without_gvl_for_a_moment(ruby, || channels.take_over()).is_none() {
            channels.take_over();
        }
        check_interrupts(ruby)?;
    }
    Ok(Cursor::behind(ruby, &channels, posted.receipt))
}

/// Publishes a message that the engine has not taken, when it does. Other Ruby threads run meanwhile.
fn post_later(ruby: &Ruby, channels: &Channels, unsent: Unsent) -> Result<Posted, Error> {
    let deadline = Instant::now() + channels.limits().publish_timeout;
    let mut unsent = Some(unsent);
    while let Some(progress) = channels.progress() {
        let cancel = Cancel::default();
        let attempt = || channels.post_later(&mut unsent, deadline, &cancel);
        if let Some(posted) = without_gvl(ruby, attempt, || progress.cancel(&cancel)).flatten() {
            return Ok(posted);
        }
        check_interrupts(ruby)?;
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(channel_error(ruby, &channels.unavailable()))
}

/// The channels, once all that this process has published has its place. An error in a process whose messages are in
/// another one.
fn settled_channels(ruby: &Ruby) -> Result<Arc<Channels>, Error> {
    refuse_outsider(ruby)?;
    let channels = channels(ruby)?;
    settle(ruby, &channels)?;
    Ok(channels)
}

/// A cursor that is not behind all messages of this process would be wrong: a page would get them again.
fn cursor(ruby: &Ruby) -> Result<Obj<Cursor>, Error> {
    if let Some(server) = server_outside(ruby)? {
        return outside::cursor(ruby, &server);
    }
    let channels = channels(ruby)?;
    let submission = channels.unsettled();
    settle(ruby, &channels)?;
    if submission.is_some_and(|submission| !channels.is_settled(submission)) {
        let message = "a message of this process has no number yet: the channels' engine does not answer";
        return Err(engine_error(ruby, message));
    }
    Ok(Cursor::wrap(ruby, channels.cursor()))
}

fn history(ruby: &Ruby, channel: Value, since_value: Value, limit: usize) -> Result<(RArray, bool), Error> {
    let (channel, since) = (name(ruby, "channel", channel)?, since(ruby, since_value)?);
    let channels = settled_channels(ruby)?;
    catch_up(ruby, &channels, since)?;
    let past = channels.history(&channel, since, limit, Instant::now());
    let all = ruby.ary_new_capa(past.messages.len());
    for message in &past.messages {
        let id = ruby.str_new(&channel::Cursor { epoch: past.epoch, seq: message.seq() }.to_string());
        let event = match message.event() {
            EventName::Default => ruby.qfalse().as_value(),
            EventName::Nameless => ruby.qnil().as_value(),
            EventName::Given(event) => ruby.str_new(event).as_value(),
        };
        all.push(ruby.ary_new_from_values(&[id.as_value(), event, payload(ruby, message).as_value()]))?;
    }
    Ok((all, past.complete))
}

fn present(ruby: &Ruby, channel: Value) -> Result<RHash, Error> {
    let channel = name(ruby, "channel", channel)?;
    let channels = settled_channels(ruby)?;
    settle_members(ruby, &channels)?;
    let hash = ruby.hash_new();
    for (member, info) in channels.present(&channel) {
        hash.aset(ruby.str_new(&member), ruby.str_new(&info))?;
    }
    Ok(hash)
}

/// Messages, members and clients are in the process of the server.
fn refuse_outsider(ruby: &Ruby) -> Result<(), Error> {
    match server_outside(ruby)? {
        None => Ok(()),
        Some(_) => Err(server_error(
            ruby,
            "this process has no server: only publish, cursor and disconnect work here. Ask in the server's process",
        )),
    }
}

fn names(ruby: &Ruby) -> Result<RArray, Error> {
    refuse_outsider(ruby)?;
    let all = channels(ruby)?.names();
    let array = ruby.ary_new_capa(all.len());
    for name in all {
        array.push(ruby.str_new(&name))?;
    }
    Ok(array)
}

fn disconnect(ruby: &Ruby, member: Value) -> Result<usize, Error> {
    let member = name(ruby, "member", member)?;
    if let Some(server) = server_outside(ruby)? {
        return outside::disconnect(ruby, &server, &member).map(|()| 0);
    }
    let clients = channels(ruby)?.disconnect(&member).map_err(|error| channel_error(ruby, &error))?;
    Ok(clients.into_iter().filter_map(|id| registry::get(ruby, id)).filter(|client| client.dismiss()).count())
}
