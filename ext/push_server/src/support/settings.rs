//! A Hash of settings, as `PushServer::Options#settings` makes it. The errors are an `ArgumentError`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use magnus::value::ReprValue;
use magnus::{Error, RArray, RHash, RString, Ruby, Symbol, TryConvert, Value};
use push_core::access_log::{AccessLogSettings, Format};
use push_core::metrics;
use push_core::push::SlowPolicy;
use push_core::sse::Fields;
use push_core::{Limits, Settings};

use crate::support::errors::argument_error;
use crate::support::jump::{inspect, lookup, unless_raised};

/// The settings that this crate itself needs.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// The event name of a plain `write` over SSE.
    pub sse_event: Option<String>,
    /// Whether to give the hint that events without a name of their own have a default one.
    pub hint_event_name: bool,
    /// Whether to give the hint that a String of bytes may be text.
    pub hint_text_in_bytes: bool,
    /// App threads.
    pub threads: usize,
}

fn fetch<T: TryConvert>(ruby: &Ruby, hash: RHash, name: &str) -> Result<Option<T>, Error> {
    let Some(value) = lookup(hash, ruby.to_symbol(name))?.filter(|value| !value.is_nil()) else { return Ok(None) };
    match unless_raised(T::try_convert(value))? {
        Some(converted) => Ok(Some(converted)),
        None => Err(argument_error(ruby, format_args!("{name} cannot be {}", inspect(value)?))),
    }
}

/// Parses `hash`. A setting that is missing has its default.
pub fn parse(ruby: &Ruby, hash: RHash) -> Result<(Settings, Own), Error> {
    let mut limits = Limits::default();
    for row in Limits::table() {
        // A missing key means the default; nil means off.
        if let Some(value) = lookup(hash, ruby.to_symbol(row.name))? {
            let number = if value.is_nil() { None } else { fetch::<f64>(ruby, hash, row.name)? };
            limits.set(row.name, number).map_err(|error| argument_error(ruby, error))?;
        }
    }
    let slow_policy = match fetch::<Symbol>(ruby, hash, "slow_client")?.map(|policy| policy.name().map(String::from)) {
        None => SlowPolicy::Close,
        Some(policy) => match policy?.as_str() {
            "close" => SlowPolicy::Close,
            "reject" => SlowPolicy::Reject,
            other => {
                return Err(argument_error(ruby, format_args!("slow_client can be :close or :reject, not {other}")));
            }
        },
    };
    let allowed_origins = match fetch::<RArray>(ruby, hash, "allowed_origins")? {
        Some(origins) => origins.to_vec::<String>()?,
        None => Vec::new(),
    };
    let trusted_proxies = match fetch::<RArray>(ruby, hash, "trusted_proxy")? {
        Some(networks) => networks.to_vec::<String>()?,
        None => Vec::new(),
    };
    let proxy_protocol = fetch::<bool>(ruby, hash, "proxy_protocol")?.unwrap_or(false);
    let websocket_compression = fetch::<bool>(ruby, hash, "websocket_compression")?.unwrap_or(false);
    let http2 = fetch::<bool>(ruby, hash, "http2")?.unwrap_or(true);
    let http2_websocket = fetch::<bool>(ruby, hash, "http2_websocket")?.unwrap_or(true);
    let public_dir = path(ruby, hash, "public_dir")?;
    let access_log = access_log(ruby, hash)?;
    // No option has this name: only tests set it.
    let fan_out = fetch::<bool>(ruby, hash, "fan_out")?.unwrap_or(true);
    let own = Own {
        threads: fetch::<usize>(ruby, hash, "threads")?.unwrap_or(1),
        hint_event_name: fetch::<bool>(ruby, hash, "hint_event_name")?.unwrap_or(false),
        hint_text_in_bytes: fetch::<bool>(ruby, hash, "hint_text_in_bytes")?.unwrap_or(false),
        sse_event: fetch::<String>(ruby, hash, "sse_event")?.filter(|name| !name.is_empty()),
    };
    let default_event = own.sse_event.clone();
    Fields { event: default_event.as_deref(), ..Fields::default() }
        .check()
        .map_err(|_| argument_error(ruby, "sse_event must not contain CR, LF or NUL"))?;
    let poll_parameter = fetch::<String>(ruby, hash, "poll_parameter")?.filter(|name| !name.is_empty());
    let settings = Settings {
        limits,
        slow_policy,
        websocket_compression,
        allowed_origins,
        public_dir,
        default_event,
        poll_parameter,
        trusted_proxies,
        proxy_protocol,
        http2,
        http2_websocket,
        access_log,
        fan_out,
    };
    Ok((settings, own))
}

/// A path, which may be any bytes.
fn path(ruby: &Ruby, hash: RHash, name: &str) -> Result<Option<PathBuf>, Error> {
    // SAFETY: copied before anything else runs.
    let bytes = fetch::<RString>(ruby, hash, name)?.map(|path| unsafe { path.as_slice() }.to_vec());
    Ok(bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes))))
}

fn access_log(ruby: &Ruby, hash: RHash) -> Result<Option<AccessLogSettings>, Error> {
    let name = fetch::<Symbol>(ruby, hash, "access_log")?.map(|format| format.name().map(String::from)).transpose()?;
    let Some(name) = name.filter(|name| name != "off") else { return Ok(None) };
    let format = Format::named(&name).ok_or_else(|| {
        argument_error(ruby, format_args!("access_log can be :off, :common, :combined or :json, not {name}"))
    })?;
    let file = path(ruby, hash, "access_log_file")?.filter(|path| path.as_os_str() != "-");
    Ok(Some(AccessLogSettings { format, file }))
}

/// The table of limits, for Ruby: a frozen Array of frozen Hashes.
pub fn table(ruby: &Ruby) -> Result<RArray, Error> {
    let table = ruby.ary_new();
    for row in Limits::table() {
        let hash = ruby.hash_new();
        hash.aset(ruby.to_symbol("name"), ruby.to_symbol(row.name))?;
        for (key, number) in [("default", row.default), ("least", Some(row.least)), ("most", row.most)] {
            let number: Value = match number {
                None => ruby.qnil().as_value(),
                Some(number) if number.fract() != 0.0 => ruby.float_from_f64(number).as_value(),
                Some(number) => ruby.integer_from_i64(number as i64).as_value(),
            };
            hash.aset(ruby.to_symbol(key), number)?;
        }
        hash.aset(ruby.to_symbol("off"), row.optional)?;
        hash.aset(ruby.to_symbol("unit"), ruby.to_symbol(row.unit.name()))?;
        let doc = ruby.str_new(row.doc);
        doc.freeze();
        hash.aset(ruby.to_symbol("doc"), doc)?;
        hash.freeze();
        table.push(hash)?;
    }
    table.freeze();
    Ok(table)
}

/// The metrics of a server, for its documentation: a frozen Array of frozen Hashes.
pub fn metrics(ruby: &Ruby) -> Result<RArray, Error> {
    let table = ruby.ary_new();
    for family in metrics::table() {
        let hash = ruby.hash_new();
        for (key, text) in
            [("name", family.sample_name()), ("type", family.kind.name().to_owned()), ("help", family.help)]
        {
            let text = ruby.str_new(&text);
            text.freeze();
            hash.aset(ruby.to_symbol(key), text)?;
        }
        let labels = ruby.ary_from_iter(family.labels.iter().map(|label| ruby.to_symbol(label)));
        labels.freeze();
        hash.aset(ruby.to_symbol("labels"), labels)?;
        hash.freeze();
        table.push(hash)?;
    }
    table.freeze();
    Ok(table)
}
