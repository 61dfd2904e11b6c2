//! `PushServer::Client`: one push connection, as handlers see it.

use std::sync::Arc;

use magnus::gc::Marker;
use magnus::rb_sys::AsRawValue;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{
    DataTypeFunctions, Error, Module, RClass, RHash, RModule, RString, Ruby, Symbol, TypedData, Value, method,
};
use push_core::base::fork::NotInChild;
use push_core::channel::{Kind, Shape};
use push_core::http::upgrade::last_event_id_of;
use push_core::push::poll::without_session;
use push_core::push::{self, Compressed, EventInterest, LastWrite, Protocol};
use push_core::sse::Fields;
use push_core::websocket::deflate;
use rb_sys::RTYPEDDATA_GET_DATA;

use crate::ruby::client_arguments::{EventOptions, close_status, compress_option, timeout, write_arguments};
use crate::ruby::client_values::ClientValues;
use crate::support::cell::GvlCell;
use crate::support::classes::define;
use crate::support::developer_hints;
use crate::support::errors::argument_error;
use crate::support::fields::{is_text, is_utf8, kind_of, text_of};
use crate::support::gvl::{check_interrupts, without_gvl_for_a_moment};
use crate::support::handler::Handler;
use crate::support::interned::words;
use crate::support::jump::lookup;
use crate::support::settings::Own;

/// The frames of the last write of all threads.
static LAST_WRITE: GvlCell<LastWrite> = GvlCell::new(LastWrite::new());

/// Forgets what was written last. To be called when an app thread has no job: a long frame must not stay for ever.
pub fn forget_last_write(ruby: &Ruby) {
    LAST_WRITE.with(ruby, LastWrite::forget);
}

/// The Ruby object. It outlives its connection if the app keeps it.
#[derive(TypedData)]
#[magnus(class = "PushServer::Client", mark, free_immediately)]
pub struct Client {
    core: NotInChild<Arc<push::Client>>,
    sse_event: Option<String>,
    values: GvlCell<ClientValues>,
}

impl DataTypeFunctions for Client {
    fn mark(&self, marker: &Marker) {
        self.values.while_marking(|values| values.mark(marker));
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<RClass, Error> {
    let class = define::<Client>(ruby, module, "Client")?;
    class.define_method("write", method!(Client::write, -1))?;
    class.define_method("pending", method!(Client::pending, 0))?;
    class.define_method("close", method!(Client::close, -1))?;
    class.define_method("open?", method!(Client::is_open, 0))?;
    class.define_method("env", method!(Client::env, 0))?;
    class.define_method("last_event_id", method!(Client::last_event_id, 0))?;
    class.define_method("close_code", method!(Client::close_code, 0))?;
    class.define_method("close_reason", method!(Client::close_reason, 0))?;
    class.define_method("protocol", method!(Client::protocol, 0))?;
    class.define_method("handler", method!(Client::handler_object, 0))?;
    class.define_method("handler=", method!(Client::swap_handler, 1))?;
    class.define_method("timeout", method!(Client::timeout, 0))?;
    class.define_method("timeout=", method!(Client::set_timeout, 1))?;
    class.define_method("[]", method!(Client::fetch, 1))?;
    class.define_method("[]=", method!(Client::store, 2))?;
    class.define_method("inspect", method!(Client::inspect, 0))?;
    class.define_method("to_s", method!(Client::inspect, 0))?;
    Ok(class)
}

/// What Ruby calls.
impl Client {
    /// The client whose method Ruby calls. For frequent methods: `Obj` checks its class under a guard of its own.
    fn of(this: &Value) -> &Client {
        // SAFETY: Ruby calls a method of a class with an instance of that class only, and only `wrap` makes instances of this
        // one, since it has no allocator. The object lives as long as the call.
        unsafe { &*RTYPEDDATA_GET_DATA(this.as_raw()).cast::<Client>() }
    }

    fn write(ruby: &Ruby, this: Value, args: &[Value]) -> Result<bool, Error> {
        let this = Client::of(&this);
        let (data, options) = write_arguments(ruby, args)?;
        if this.core.shape() == Shape::Raw {
            let text = is_text(ruby, "client.write", data)?;
            if !text && developer_hints::expects_text_in_bytes() && is_utf8(data) {
                developer_hints::text_in_bytes("client.write");
            }
            if this.core.compresses(data.len()) && compress_option(ruby, options)? {
                return this.write_compressed(ruby, data, move |core, bytes| core.compress_message(text, bytes));
            }
            // SAFETY: nothing calls Ruby while the slice is used.
            let bytes = unsafe { data.as_slice() };
            return Ok(LAST_WRITE.with(ruby, |last| last.write_message(&this.core, text, bytes)));
        }
        this.write_event(ruby, data, options)
    }

    fn write_event(&self, ruby: &Ruby, data: RString, options: Option<RHash>) -> Result<bool, Error> {
        let kind = kind_of(ruby, "client.write", data)?;
        let given = match options {
            None => EventOptions::default(),
            Some(options) => EventOptions::parse(ruby, options)?,
        };
        developer_hints::event_name(given.event.is_some());
        let event = match &given.event {
            None => self.sse_event.as_deref(),
            Some(event) => event.as_deref(),
        };
        let fields = Fields { event, id: given.id.as_deref(), retry: given.retry };
        fields.check().map_err(|error| argument_error(ruby, error))?;
        if fields.id.is_some() && self.core.is_subscribed() {
            let message = "id: a client with subscriptions has their cursor for its last event id";
            return Err(argument_error(ruby, message));
        }
        let binary = kind == Kind::Binary;
        if binary && self.core.shape() != Shape::PushV1 {
            return Err(argument_error(ruby, "an event stream is text: the bytes are not valid UTF-8"));
        }
        if self.core.compresses(data.len()) && compress_option(ruby, options)? {
            return self.write_compressed(ruby, data, |core, bytes| core.compress_event(fields, binary, bytes));
        }
        // SAFETY: nothing calls Ruby while the slice is used.
        let bytes = unsafe { data.as_slice() };
        if binary {
            return Ok(self.core.write_binary_event(fields, bytes));
        }
        Ok(LAST_WRITE.with(ruby, |last| last.write_event(&self.core, fields, bytes)))
    }

    /// Compresses a write: a long one without the GVL. For others, leaving and taking it again would cost more.
    fn write_compressed(
        &self,
        ruby: &Ruby,
        data: RString,
        compress: impl Fn(&push::Client, &[u8]) -> Compressed,
    ) -> Result<bool, Error> {
        if data.len() <= deflate::LONG {
            // SAFETY: nothing calls Ruby while the slice is used.
            return Ok(self.core.write_compressed(compress(&self.core, unsafe { data.as_slice() })));
        }
        // Other threads may change the String meanwhile.
        // SAFETY: as above.
        let copy = unsafe { data.as_slice() }.to_vec();
        let compressed = without_gvl_for_a_moment(ruby, || compress(&self.core, &copy));
        // If an interrupt was pending, nothing was compressed, and usually this raises.
        check_interrupts(ruby)?;
        let compressed = compressed.unwrap_or_else(|| compress(&self.core, &copy));
        Ok(self.core.write_compressed(compressed))
    }

    fn pending(&self) -> i64 {
        self.core.pending().map_or(-1, |pending| pending as i64)
    }

    fn close(ruby: &Ruby, this: Obj<Self>, args: &[Value]) -> Result<(), Error> {
        this.core.close(close_status(ruby, args)?);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.core.is_open()
    }

    fn env(ruby: &Ruby, this: Obj<Self>) -> Option<RHash> {
        this.values.with(ruby, |values| values.env)
    }

    fn last_event_id(ruby: &Ruby, this: Obj<Self>) -> Result<Option<Value>, Error> {
        let Some(env) = Self::env(ruby, this) else { return Ok(None) };
        let words = words(ruby);
        if let Some(header) = lookup(env, ruby.get_inner(words.http_last_event_id))? {
            let id = RString::from_value(header).and_then(text_of);
            // The app need not see the part of the id that names a long poll's session.
            let shorter = id.as_deref().map(without_session).filter(|cursor| Some(*cursor) != id.as_deref());
            return Ok(Some(shorter.map_or(header, |cursor| ruby.str_new(cursor).as_value())));
        }
        let query = lookup(env, ruby.get_inner(words.query_string))?.and_then(RString::from_value).and_then(text_of);
        let id = query.and_then(|query| last_event_id_of(&query));
        Ok(id.map(|id| ruby.str_new(without_session(&id)).as_value()))
    }

    fn close_code(&self) -> Option<u16> {
        self.core.close_status().map(|status| status.code)
    }

    fn close_reason(&self) -> Option<String> {
        self.core.close_status().map(|status| status.reason)
    }

    fn protocol(ruby: &Ruby, this: Obj<Self>) -> Symbol {
        words(ruby).protocol(ruby, this.core.protocol()).into()
    }

    fn handler_object(ruby: &Ruby, this: Obj<Self>) -> Value {
        this.values.with(ruby, |values| values.handler.object)
    }

    fn swap_handler(ruby: &Ruby, this: Obj<Self>, object: Value) -> Result<(), Error> {
        let handler = Handler::attach(ruby, object)?;
        let thread = ruby.thread_current().as_value();
        // Of several swaps within one callback, the last one counts. Swaps from elsewhere wait for one another.
        let within = this.values.with(ruby, |values| values.is_run_by(thread));
        if within && this.values.with(ruby, |values| values.replace_swap(handler)) {
            this.core.widen_interest(handler.interest());
        } else if this.core.swap_handler(within, handler.interest()) {
            this.values.with(ruby, |values| values.add_swap(handler, within));
        }
        // From now on if one of them forbids it.
        this.core.set_compress(this.values.with(ruby, |values| values.all_compress()));
        Ok(())
    }

    fn timeout(ruby: &Ruby, this: Obj<Self>) -> Value {
        match this.core.interval() {
            None => ruby.qnil().as_value(),
            Some(interval) if interval.subsec_nanos() == 0 => ruby.integer_from_u64(interval.as_secs()).as_value(),
            Some(interval) => ruby.float_from_f64(interval.as_secs_f64()).as_value(),
        }
    }

    fn set_timeout(ruby: &Ruby, this: Obj<Self>, seconds: Value) -> Result<(), Error> {
        this.core.set_interval(timeout(ruby, seconds)?);
        Ok(())
    }

    fn fetch(ruby: &Ruby, this: Obj<Self>, key: Value) -> Result<Option<Value>, Error> {
        this.values.with(ruby, |values| values.storage).map_or(Ok(None), |storage| lookup(storage, key))
    }

    fn store(ruby: &Ruby, this: Obj<Self>, key: Value, value: Value) -> Result<Value, Error> {
        let storage = match this.values.with(ruby, |values| values.storage) {
            Some(storage) => storage,
            None => {
                let fresh = ruby.hash_new();
                this.values.with(ruby, |values| *values.storage.get_or_insert(fresh))
            }
        };
        storage.aset(key, value)?;
        Ok(value)
    }

    fn inspect(&self) -> String {
        let state = match (self.core.is_open(), self.core.pending()) {
            (true, _) => "open",
            (false, Some(_)) => "closing",
            (false, None) => "closed",
        };
        format!("#<PushServer::Client {} {} {state}>", protocol_name(self.core.protocol()), self.core.peer())
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::WebSocket => "websocket",
        Protocol::Sse => "sse",
    }
}

/// What the calls of the app need.
impl Client {
    pub fn wrap(ruby: &Ruby, core: Arc<push::Client>, own: &Own, env: RHash, handler: Handler) -> Obj<Self> {
        if core.protocol() == Protocol::Sse {
            developer_hints::event_stream_opened();
        }
        let client = ruby.obj_wrap(Client {
            core: NotInChild::new(core.context().base.owner, core),
            sse_event: own.sse_event.clone(),
            values: GvlCell::new(ClientValues::new(handler)),
        });
        // These are set after the allocation, so that the garbage collector sees them on the stack until then.
        client.values.with(ruby, |values| {
            values.env = Some(env);
            values.handler = handler;
        });
        client
    }

    pub fn core(&self) -> &Arc<push::Client> {
        &self.core
    }

    pub fn id(&self) -> u64 {
        self.core.id()
    }

    /// The callable of a subscription.
    pub fn callable(&self, ruby: &Ruby, number: u64) -> Option<Value> {
        self.values.with(ruby, |values| values.callable(number))
    }

    pub fn keep_callable(&self, ruby: &Ruby, number: u64, callable: Value) {
        self.values.with(ruby, |values| values.keep_callable(number, callable));
    }

    pub fn drop_callable(&self, ruby: &Ruby, number: u64) {
        self.values.with(ruby, |values| values.drop_callable(number));
    }

    /// Whether this process is a forked child of the one that the client belongs to.
    pub fn forked(&self) -> bool {
        self.core.context().base.owner.forked()
    }

    pub fn handler(&self, ruby: &Ruby) -> Handler {
        self.values.with(ruby, |values| values.handler)
    }

    pub fn take_next_handler(&self, ruby: &Ruby) -> Option<Handler> {
        self.values.with(ruby, ClientValues::take_next)
    }

    /// Whether the last callback has set another handler, which is not yet the current one.
    pub fn is_swapped(&self, ruby: &Ruby) -> bool {
        self.values.with(ruby, |values| values.swapped)
    }

    pub fn set_current_handler(&self, ruby: &Ruby, handler: Handler) {
        let compress = self.values.with(ruby, |values| {
            values.handler = handler;
            values.all_compress()
        });
        self.core.set_compress(compress);
    }

    /// Which events the current handler and those that wait have callbacks for.
    pub fn wanted(&self, ruby: &Ruby) -> EventInterest {
        self.values.with(ruby, |values| values.wanted())
    }

    /// Called before a callback of this client, on its thread.
    pub fn enter(&self, ruby: &Ruby) {
        let thread = ruby.thread_current().as_value();
        self.values.with(ruby, |values| {
            values.runner = Some(thread);
            values.swapped = false;
        });
    }

    /// Called after the callback.
    pub fn leave(&self, ruby: &Ruby) {
        self.values.with(ruby, |values| values.runner = None);
    }

    /// Called after the last callback. An app that keeps the object does not keep the request.
    pub fn release(&self, ruby: &Ruby) {
        self.values.with(ruby, ClientValues::release);
    }
}
