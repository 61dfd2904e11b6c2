//! The subscriptions of a `PushServer::Client`. The private methods are for `lib/push_server/client.rb`, which has the
//! public ones.

use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Error, Module, RClass, RString, Ruby, Value, method};
use push_core::channel::{Kind, Member, Subscription, Target};
use push_core::push::Turn;

use crate::ruby::client::Client;
use crate::ruby::cursor::{catch_up, settle};
use crate::support::errors::channel_error;
use crate::support::fields::{given, name, payload, since};

pub fn init(class: RClass) -> Result<(), Error> {
    class.define_method("pubsub?", method!(Client::pubsub, 0))?;
    class.define_method("recovered?", method!(Client::recovered, 0))?;
    class.define_private_method("subscribe_channel", method!(Client::subscribe_channel, 6))?;
    class.define_private_method("subscribe_callable", method!(Client::subscribe_callable, 4))?;
    class.define_private_method("unsubscribe_channel", method!(Client::unsubscribe_channel, 2))?;
    Ok(())
}

fn target(name: &str, pattern: bool) -> Target<'_> {
    if pattern { Target::Pattern(name) } else { Target::Channel(name) }
}

impl Client {
    fn pubsub(&self) -> bool {
        true
    }

    fn recovered(&self) -> Option<bool> {
        self.core().recovered()
    }

    /// `from`: a cursor; false is the one that the client came with, nil is the present. `info` is JSON. `binary`:
    /// which frames a WebSocket without push.v1 gets; nil is as the messages were published.
    #[allow(clippy::too_many_arguments)] // Ruby passes that many.
    fn subscribe_channel(
        ruby: &Ruby,
        this: Obj<Self>,
        channel: Value,
        pattern: bool,
        from: Value,
        member: Value,
        info: String,
        binary: Option<bool>,
    ) -> Result<bool, Error> {
        let channel = name(ruby, "channel", channel)?;
        let since = given(from).map(|from| since(ruby, from)).transpose()?;
        let member = if member.is_nil() { None } else { Some(name(ruby, "member", member)?) };
        let member = member.as_deref().map(|name| Member { name, info: &info });
        let frames = binary.map(|binary| if binary { Kind::Binary } else { Kind::Text });
        let subscription = Subscription { target: target(&channel, pattern), since, member, frames };
        let channels = this.core().context().pubsub.channels();
        settle(ruby, channels)?;
        catch_up(ruby, channels, since.unwrap_or_default())?;
        this.core().subscribe(subscription).map_err(|error| channel_error(ruby, &error))
    }

    fn subscribe_callable(
        ruby: &Ruby,
        this: Obj<Self>,
        channel: Value,
        pattern: bool,
        from: Value,
        callable: Value,
    ) -> Result<bool, Error> {
        let channel = name(ruby, "channel", channel)?;
        let since = given(from).map(|from| since(ruby, from)).transpose()?;
        let channels = this.core().context().pubsub.channels();
        settle(ruby, channels)?;
        catch_up(ruby, channels, since.unwrap_or_default())?;
        let number = this.core().subscribe_call(target(&channel, pattern), since);
        // This comes before the subscription's first event, because an event runs with the GVL.
        match number.map_err(|error| channel_error(ruby, &error))? {
            Some(number) => this.keep_callable(ruby, number, callable),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn unsubscribe_channel(ruby: &Ruby, this: Obj<Self>, channel: Value, pattern: bool) -> Result<bool, Error> {
        let channel = name(ruby, "channel", channel)?;
        let (found, calls) = this.core().unsubscribe(target(&channel, pattern));
        calls.iter().for_each(|number| this.drop_callable(ruby, *number));
        Ok(found || !calls.is_empty())
    }

    /// Closes the connection, and tells the client not to reconnect. False if the connection is closing already.
    pub fn dismiss(&self) -> bool {
        let open = self.core().is_open();
        self.core().dismiss();
        open
    }
}

/// Gives a subscription's messages to `call`: the callable, the channel and the data. The error is that of `call`.
pub fn each_published(
    ruby: &Ruby,
    turn: &Turn,
    client: Obj<Client>,
    number: u64,
    mut call: impl FnMut(Value, RString, RString) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut messages = turn.client().take_published(number).messages.into_iter();
    while let Some(message) = messages.next() {
        // It is looked up each time, because the call before may have ended the subscription, or closed the client.
        let Some(callable) = client.callable(ruby, number).filter(|_| turn.client().is_open()) else { return Ok(()) };
        if message.kind() == Kind::Server {
            continue;
        }
        if let Err(error) = call(callable, ruby.str_new(message.channel()), payload(ruby, &message)) {
            // This thread ends. Another one goes on with the messages that are left.
            turn.client().return_published(number, messages.collect());
            return Err(error);
        }
    }
    Ok(())
}
