//! The Rack env: a copy of the listener's template, and what the request adds.

use std::sync::OnceLock;

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{Method, Version};
use magnus::r_hash::ForEach;
use magnus::value::{Opaque, ReprValue};
use magnus::{Error, Integer, RArray, RHash, RString, Ruby, Symbol, Value};
use push_core::http::headers::list;
use push_core::net::{ListenerId, Peer};
use push_core::push::Protocol;
use push_core::push::poll::Owner;

use crate::rack::env_template::{Templates, has_port};
use crate::support::errors::type_error;
use crate::support::interned::{Words, interned, words};
use crate::support::jump::{class_name, lookup};
use crate::support::raw::{Guarded, guarded_hash};

/// Headers that many requests have; their keys are interned.
const HEADERS: [HeaderName; 22] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::COOKIE,
    header::DNT,
    header::EXPECT,
    header::FORWARDED,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::UPGRADE,
    header::UPGRADE_INSECURE_REQUESTS,
    header::USER_AGENT,
];

/// Longest name among them, in bytes.
const LONGEST: usize = 32;

/// The keys of [`HEADERS`] in rows by the length of the name, so that a look-up compares few names.
struct Keys([Vec<(HeaderName, Opaque<RString>)>; LONGEST]);

static KEYS: OnceLock<Keys> = OnceLock::new();

pub fn init(ruby: &Ruby) {
    let mut keys = Keys([const { Vec::new() }; LONGEST]);
    for name in HEADERS {
        if let Some(row) = keys.0.get_mut(name.as_str().len()) {
            let key = interned(ruby, &cgi_name(&name));
            row.push((name, key));
        }
    }
    // They are set already if the extension is loaded twice.
    let _ = KEYS.set(keys);
}

fn cgi_name(name: &HeaderName) -> String {
    format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"))
}

fn header_key(ruby: &Ruby, raw: &Guarded, name: &HeaderName) -> Value {
    let row = KEYS.get().and_then(|keys| keys.0.get(name.as_str().len()));
    if let Some((_, key)) = row.and_then(|row| row.iter().find(|(known, _)| known == name)) {
        return ruby.get_inner(*key).as_value();
    }
    // An array and no String: under the guard, nothing may have to be dropped.
    let mut key = [0; 256];
    key[..5].copy_from_slice(b"HTTP_");
    let bytes = name.as_str().as_bytes();
    let length = bytes.len().min(key.len() - 5);
    for (to, from) in key[5..].iter_mut().zip(bytes) {
        *to = if *from == b'-' { b'_' } else { from.to_ascii_uppercase() };
    }
    let start = raw.interned(&key[..5 + length]);
    if length == bytes.len() {
        return start;
    }
    let whole = raw.binary(&key[..5 + length]);
    for byte in &bytes[length..] {
        raw.append(whole, &[if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }]);
    }
    whole
}

/// What an env is built from.
pub struct Subject<'a> {
    pub head: &'a Parts,
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
    let host = match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let template = templates.get(ruby, subject.listener, host)?;
    let address = templates.address(ruby, subject.listener, subject.peer.ip())?;
    let protocols = protocols(ruby, head)?;
    let words = words(ruby);
    let word = |word: Opaque<RString>| ruby.get_inner(word);
    guarded_hash(ruby, |raw| {
        let env = raw.dup(template);
        if head.method != Method::GET {
            raw.set(env, word(words.request_method), method(ruby, words, raw, &head.method));
        }
        // Clients of HTTP/1.0 do not understand informational responses (RFC 8297 section 2).
        if head.version == Version::HTTP_10 {
            raw.set(env, word(words.server_protocol), word(words.http_10));
        } else {
            raw.set(env, word(words.rack_early_hints), subject.answer);
        }
        if head.version == Version::HTTP_2 {
            raw.set(env, word(words.server_protocol), word(words.http_2));
            // An extended CONNECT (RFC 8441 section 4).
            if subject.upgrade == Some(Protocol::WebSocket) {
                raw.set(env, word(words.original_method), word(words.connect));
            }
        }
        raw.set(env, word(words.path_info), raw.binary(head.uri.path().as_bytes()));
        if let Some(query) = head.uri.query().filter(|query| !query.is_empty()) {
            raw.set(env, word(words.query_string), raw.binary(query.as_bytes()));
        }
        raw.set(env, word(words.remote_addr), address);
        if let Some(https) = subject.https {
            let (scheme, port) = if https { (words.https, words.https_port) } else { (words.http, words.http_port) };
            raw.set(env, word(words.rack_url_scheme), word(scheme));
            if !host.is_some_and(has_port) {
                raw.set(env, word(words.server_port), word(port));
            }
            if !https {
                raw.delete(env, word(words.https_is_on));
            }
        }
        if let Some(input) = subject.input {
            raw.set(env, word(words.rack_input), input);
        }
        raw.set(env, word(words.rack_response_finished), raw.array());
        raw.set(env, word(words.rack_hijack), subject.answer);
        if let Some(protocol) = subject.upgrade {
            raw.set(env, word(words.rack_is_upgradeable), words.protocol(ruby, protocol));
        }
        if let Some(protocols) = protocols {
            raw.set(env, word(words.rack_protocol), protocols);
        }
        headers(ruby, raw, env, head, subject.body_length);
        env
    })
}

fn method(ruby: &Ruby, words: &Words, raw: &Guarded, method: &Method) -> Value {
    let word = match *method {
        Method::GET => words.get,
        Method::POST => words.post,
        Method::PUT => words.put,
        Method::PATCH => words.patch,
        Method::DELETE => words.delete,
        Method::HEAD => words.head,
        Method::OPTIONS => words.options,
        _ => return raw.interned(method.as_str().as_bytes()),
    };
    ruby.get_inner(word).as_value()
}

/// The protocols that a client offers to switch to: Rack 3.1's `rack.protocol`.
fn protocols(ruby: &Ruby, head: &Parts) -> Result<Option<RArray>, Error> {
    if head.version < Version::HTTP_11 || !head.headers.contains_key(header::UPGRADE) {
        return Ok(None);
    }
    let names = ruby.ary_new();
    for name in list(&head.headers, header::UPGRADE) {
        names.push(ruby.str_new(name))?;
    }
    Ok(Some(names))
}

/// Sets the headers. Rack wants values in ASCII-8BIT, because the server cannot know their encoding.
fn headers(ruby: &Ruby, raw: &Guarded, env: Value, head: &Parts, body_length: u64) {
    let words = words(ruby);
    let mut framed = false;
    let mut last: Option<(&HeaderName, Value)> = None;
    for (name, value) in &head.headers {
        if let Some((same, joined)) = last
            && same == name
        {
            raw.append(joined, if name == header::COOKIE { b"; " } else { b", " });
            raw.append(joined, value.as_bytes());
            continue;
        }
        last = None;
        let key = match *name {
            // The template has it.
            header::HOST => continue,
            // The body has been decoded. CONTENT_LENGTH is its length.
            header::TRANSFER_ENCODING | header::CONTENT_LENGTH => {
                framed = true;
                continue;
            }
            header::CONTENT_TYPE => ruby.get_inner(words.content_type).as_value(),
            // HTTP_PROXY would be taken for a setting by libraries (the attack "httpoxy"). A name with an underscore
            // has the CGI name of one with dashes: a client could forge a header that a proxy sets.
            _ if name == "proxy" || name.as_str().contains('_') => continue,
            _ => header_key(ruby, raw, name),
        };
        let string = raw.binary(value.as_bytes());
        raw.set(env, key, string);
        last = Some((name, string));
    }
    if framed {
        // No String, as above.
        let mut digits = itoa::Buffer::new();
        raw.set(env, ruby.get_inner(words.content_length), raw.text(digits.format(body_length).as_bytes()));
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
