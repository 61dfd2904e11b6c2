//! The Rack env: a copy of the listener's template, and what the request adds.

use std::sync::OnceLock;

use http::Version;
use magnus::r_hash::ForEach;
use magnus::value::{Opaque, ReprValue};
use magnus::{Error, Integer, RArray, RHash, RString, Ruby, Symbol, Value};
use push_core::http::headers::{list, visible};
use push_core::http::{Method, RequestHead};
use push_core::net::{ListenerId, Peer};
use push_core::push::Protocol;
use push_core::push::poll::Owner;

use crate::rack::env_template::{Templates, default_port};
use crate::support::errors::type_error;
use crate::support::interned::{Words, interned, words};
use crate::support::jump::{class_name, lookup};
use crate::support::raw::{Entries, Guarded, guarded_hash};

/// Headers that many requests have; their keys are interned.
const HEADERS: [&str; 48] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "dnt",
    "expect",
    "forwarded",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "keep-alive",
    "last-event-id",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-gpc",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "te",
    "traceparent",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-csrf-token",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];

/// Longest name among them, in bytes.
const LONGEST: usize = 32;

/// The keys of [`HEADERS`] in rows by the length of the name, so that a look-up compares few names.
struct Keys([Vec<(&'static str, Opaque<RString>)>; LONGEST]);

static KEYS: OnceLock<Keys> = OnceLock::new();

/// Makes the keys of [`HEADERS`]. To be called when the extension is loaded.
pub fn init(ruby: &Ruby) {
    let mut keys = Keys([const { Vec::new() }; LONGEST]);
    for name in HEADERS {
        if let Some(row) = keys.0.get_mut(name.len()) {
            let key = interned(ruby, &cgi_name(name));
            row.push((name, key));
        }
    }
    // They are set already if the extension is loaded twice.
    let _ = KEYS.set(keys);
}

fn cgi_name(name: &str) -> String {
    format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn header_key(ruby: &Ruby, raw: &Guarded, name: &[u8]) -> Value {
    let row = KEYS.get().and_then(|keys| keys.0.get(name.len()));
    if let Some((_, key)) = row.and_then(|row| row.iter().find(|(known, _)| known.as_bytes() == name)) {
        return ruby.get_inner(*key).as_value();
    }
    // An array and no String: under the guard, nothing may have to be dropped.
    let mut key = [0; 256];
    key[..5].copy_from_slice(b"HTTP_");
    let length = name.len().min(key.len() - 5);
    for (to, from) in key[5..].iter_mut().zip(name) {
        *to = if *from == b'-' { b'_' } else { from.to_ascii_uppercase() };
    }
    let start = raw.interned(&key[..5 + length]);
    if length == name.len() {
        return start;
    }
    let whole = raw.binary(&key[..5 + length]);
    for byte in &name[length..] {
        raw.append(whole, &[if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }]);
    }
    raw.intern(whole)
}

/// What an env is built from.
pub struct Subject<'a> {
    pub head: &'a RequestHead,
    pub listener: ListenerId,
    pub peer: Peer,
    /// Whether the client used https, if that is not what the template says.
    pub https: Option<bool>,
    pub upgrade: Option<Protocol>,
    /// Length of the body in bytes.
    pub body_length: u64,
    /// The body, if there is one.
    pub input: Option<Value>,
    /// The value of `rack.hijack` and `rack.early_hints`.
    pub answer: Value,
}

/// Builds the env of a request. The error: no memory is left.
pub fn build(ruby: &Ruby, templates: &Templates, subject: &Subject<'_>) -> Result<RHash, Error> {
    let head = subject.head;
    // In absolute form, the target's host replaces that of the Host header (RFC 9112 section 3.2.2).
    let host = head.authority().or_else(|| head.get("host").and_then(visible));
    let template = templates.of(ruby, subject.listener)?;
    let protocols = protocols(ruby, head)?;
    let words = words(ruby);
    let word = |word: Opaque<RString>| ruby.get_inner(word).as_value();
    guarded_hash(ruby, |raw| {
        let mut entries = Entries::new();
        let mut set = |key: Opaque<RString>, value: Value| raw.add(&mut entries, word(key), value);
        set(words.request_method, method(ruby, words, raw, head));
        set(words.path_info, raw.binary(head.path_bytes()));
        let query = head.query_bytes().filter(|query| !query.is_empty());
        set(words.query_string, query.map_or_else(|| word(words.empty), |query| raw.binary(query)));
        set(words.server_protocol, word(protocol(words, head.version())));
        // An extended CONNECT (RFC 8441 section 4).
        if head.version() == Version::HTTP_2 && subject.upgrade == Some(Protocol::WebSocket) {
            set(words.original_method, word(words.connect));
        }
        set(words.remote_addr, templates.addresses.get(ruby, raw, subject.peer.ip()));
        let usual_port = subject.https.map_or(template.port, default_port);
        if let Some(host) = host {
            let host = templates.hosts.get(ruby, raw, host, usual_port);
            set(words.http_host, host.header);
            set(words.server_name, host.name);
            set(words.server_port, host.port);
        } else if subject.https.is_some() {
            set(words.server_port, raw.interned(usual_port.as_bytes()));
        }
        if let Some(https) = subject.https {
            set(words.rack_url_scheme, word(if https { words.https } else { words.http }));
        }
        if let Some(input) = subject.input {
            set(words.rack_input, input);
        }
        set(words.rack_response_finished, raw.array());
        set(words.rack_hijack, subject.answer);
        // Clients of HTTP/1.0 do not understand informational responses (RFC 8297 section 2).
        if head.version() != Version::HTTP_10 {
            set(words.rack_early_hints, subject.answer);
        }
        if let Some(protocol) = subject.upgrade {
            set(words.rack_is_upgradeable, words.protocol(ruby, protocol).as_value());
        }
        if let Some(protocols) = protocols {
            set(words.rack_protocol, protocols.as_value());
        }
        headers(ruby, raw, &mut entries, head, subject.body_length);
        let env = templates.layouts.env(ruby, raw, template.base, &entries);
        if subject.https == Some(false) {
            raw.delete(env, word(words.https_is_on));
        }
        env
    })
}

fn protocol(words: &Words, version: Version) -> Opaque<RString> {
    match version {
        Version::HTTP_10 => words.http_10,
        Version::HTTP_2 => words.http_2,
        _ => words.http_11,
    }
}

fn method(ruby: &Ruby, words: &Words, raw: &Guarded, head: &RequestHead) -> Value {
    let word = match head.method() {
        Method::Get => words.get,
        Method::Post => words.post,
        Method::Put => words.put,
        Method::Patch => words.patch,
        Method::Delete => words.delete,
        Method::Head => words.head,
        Method::Options => words.options,
        _ => return raw.interned(head.method_name().as_bytes()),
    };
    ruby.get_inner(word).as_value()
}

/// The protocols that a client offers to switch to: Rack 3.1's `rack.protocol`.
fn protocols(ruby: &Ruby, head: &RequestHead) -> Result<Option<RArray>, Error> {
    if head.version() < Version::HTTP_11 || !head.contains("upgrade") {
        return Ok(None);
    }
    let names = ruby.ary_new();
    for name in list(head, "upgrade") {
        names.push(ruby.str_new(name))?;
    }
    Ok(Some(names))
}

/// Sets the headers. Rack wants values in ASCII-8BIT, because the server cannot know their encoding.
fn headers(ruby: &Ruby, raw: &Guarded, entries: &mut Entries, head: &RequestHead, body_length: u64) {
    let words = words(ruby);
    let mut framed = false;
    let mut last: Option<(&[u8], Value)> = None;
    for (name, value) in head.fields() {
        if let Some((same, joined)) = last
            && same == name
        {
            raw.append(joined, if name == b"cookie" { b"; " } else { b", " });
            raw.append(joined, value);
            continue;
        }
        last = None;
        let key = match name {
            // The template has it.
            b"host" => continue,
            // The body has been decoded. CONTENT_LENGTH is its length.
            b"transfer-encoding" | b"content-length" => {
                framed = true;
                continue;
            }
            b"content-type" => ruby.get_inner(words.content_type).as_value(),
            // HTTP_PROXY would be taken for a setting by libraries (the attack "httpoxy"). A name with an underscore
            // has the CGI name of one with dashes: a client could forge a header that a proxy sets.
            _ if name == b"proxy" || name.contains(&b'_') => continue,
            _ => header_key(ruby, raw, name),
        };
        let string = raw.binary(value);
        raw.add(entries, key, string);
        last = Some((name, string));
    }
    if framed {
        // No String, as above.
        let mut digits = itoa::Buffer::new();
        raw.add(entries, ruby.get_inner(words.content_length), raw.text(digits.format(body_length).as_bytes()));
    }
}

/// The handler that the app has set: `rack.upgrade`.
pub fn handler(ruby: &Ruby, env: RHash) -> Result<Option<Value>, Error> {
    Ok(lookup(env, ruby.get_inner(words(ruby).rack_upgrade))?.filter(|handler| handler.to_bool()))
}

/// The owner of a long poll's session, if the app has set one: `push_server.session_owner`.
pub fn session_owner(ruby: &Ruby, env: RHash) -> Result<Owner, Error> {
    let owner = lookup(env, ruby.get_inner(words(ruby).session_owner))?;
    let Some(owner) = owner.filter(|owner| owner.to_bool()) else { return Ok(None) };
    let string = if Symbol::from_value(owner).is_some() || Integer::from_value(owner).is_some() {
        owner.to_r_string()?
    } else {
        RString::from_value(owner).ok_or_else(|| {
            let class = class_name(owner);
            let message = format!("env['push_server.session_owner'] must be a String, Symbol or Integer, not {class}");
            type_error(ruby, message)
        })?
    };
    // SAFETY: copied before anything else runs.
    Ok(Some(Box::from(unsafe { string.as_slice() })))
}

/// Prefixes of keys whose values are of use only while the app runs. They would keep many objects alive.
const TRANSIENT: [&str; 7] =
    ["rack.", "action_dispatch.", "action_controller.", "rails.", "sinatra.", "roda.", "push_server."];

/// What an open stream keeps of its env: what describes the request, and what the app has added. A whole env costs 2
/// KB, and often refers to the objects that have handled the request.
pub fn trimmed(ruby: &Ruby, env: RHash) -> Result<RHash, Error> {
    let kept = ruby.hash_new();
    env.foreach(|key: Value, value: Value| {
        if keeps(key) {
            kept.aset(key, value)?;
        }
        Ok(ForEach::Continue)
    })?;
    Ok(kept)
}

fn keeps(key: Value) -> bool {
    let Some(key) = RString::from_value(key) else { return true };
    // SAFETY: nothing calls Ruby while the slice is used.
    let name = unsafe { key.as_slice() };
    matches!(name, b"rack.url_scheme" | b"rack.session" | b"rack.upgrade?")
        || !TRANSIENT.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}
