//! The Rack env: a copy of the listener's template, filled with what the request says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::OnceLock;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Uri, Version};
use magnus::encoding::EncodingCapable;
use magnus::r_hash::ForEach;
use magnus::value::{Opaque, ReprValue};
use magnus::{Error, RArray, RHash, RString, Ruby, TryConvert, Value};
use push_core::push::Protocol;

/// Frozen, interned strings for keys and values that recur: Ruby need not make them anew.
struct Words {
    words: HashMap<&'static str, Opaque<RString>>,
    headers: HashMap<HeaderName, Opaque<RString>>,
}

static WORDS: OnceLock<Words> = OnceLock::new();

const KEYS: [&str; 19] = [
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "rack.input",
    "rack.hijack",
    "rack.early_hints",
    "rack.protocol",
    "rack.response_finished",
    "rack.upgrade",
    "rack.upgrade?",
    "rack.url_scheme",
    "rack.session",
    "",
];

const VALUES: [&str; 12] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "HTTP/1.0", "HTTP/1.1", "80", "/", "127.0.0.1"];

/// Headers that most requests have.
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
    header::HOST,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::UPGRADE,
    header::UPGRADE_INSECURE_REQUESTS,
    header::USER_AGENT,
];

pub fn init(ruby: &Ruby) -> Result<(), Error> {
    let intern = |text: &str| {
        let word = ruby.str_new(text).to_interned_str();
        ruby.gc_register_mark_object(word);
        Opaque::from(word)
    };
    let words = KEYS.into_iter().chain(VALUES).map(|word| (word, intern(word))).collect();
    let headers = HEADERS.into_iter().map(|name| (name.clone(), intern(&cgi_name(&name)))).collect();
    // Set already if the extension is loaded twice; the words are the same.
    let _ = WORDS.set(Words { words, headers });
    Ok(())
}

/// A frozen string for `text`, shared if it is a common one.
pub fn word(ruby: &Ruby, text: &str) -> RString {
    match WORDS.get().and_then(|words| words.words.get(text)) {
        Some(word) => ruby.get_inner(*word),
        None => ruby.str_new(text),
    }
}

fn cgi_name(name: &HeaderName) -> String {
    format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"))
}

fn header_key(ruby: &Ruby, name: &HeaderName) -> RString {
    match WORDS.get().and_then(|words| words.headers.get(name)) {
        Some(key) => ruby.get_inner(*key),
        None => ruby.str_new(&cgi_name(name)),
    }
}

/// Rack asks for request values in ASCII-8BIT: the server cannot know their encoding.
fn binary(ruby: &Ruby, bytes: &[u8]) -> Result<RString, Error> {
    let string = ruby.str_from_slice(bytes);
    string.enc_associate(ruby.ascii8bit_encindex())?;
    Ok(string)
}

/// Builds the env of a request; `template` is the frozen Hash of its listener.
pub fn build(
    ruby: &Ruby,
    template: RHash,
    head: &Parts,
    remote: SocketAddr,
    upgrade: Option<Protocol>,
    body_length: u64,
    input: Value,
) -> Result<RHash, Error> {
    let env: RHash = template.funcall("dup", ())?;
    let set = |key: &str, value: Value| env.aset(word(ruby, key), value);

    set("REQUEST_METHOD", word(ruby, head.method.as_str()).as_value())?;
    set("SERVER_PROTOCOL", word(ruby, protocol(head.version)).as_value())?;
    let (path, query) = target(&head.uri);
    set("PATH_INFO", binary(ruby, path.as_bytes())?.as_value())?;
    set(
        "QUERY_STRING",
        if query.is_empty() { word(ruby, "").as_value() } else { binary(ruby, query.as_bytes())?.as_value() },
    )?;
    set("REMOTE_ADDR", word(ruby, &remote.ip().to_canonical().to_string()).as_value())?;
    set("rack.input", input)?;
    set("rack.response_finished", ruby.ary_new().as_value())?;
    let upgradeable = match upgrade {
        None => ruby.qnil().as_value(),
        Some(Protocol::WebSocket) => ruby.to_symbol("websocket").as_value(),
        Some(Protocol::Sse) => ruby.to_symbol("sse").as_value(),
    };
    set("rack.upgrade?", upgradeable)?;
    if let Some(protocols) = protocols(ruby, head)? {
        set("rack.protocol", protocols.as_value())?;
    }
    headers(ruby, env, &head.headers, body_length)?;
    // In absolute form the target's host wins over Host (RFC 9112 section 3.2.2).
    if let Some(authority) = head.uri.authority() {
        env.aset(header_key(ruby, &header::HOST), binary(ruby, authority.as_str().as_bytes())?)?;
        server_name(ruby, env, authority.as_str())?;
    } else if let Some(host) = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
        server_name(ruby, env, host)?;
    }
    Ok(env)
}

/// The protocols a client asks to switch to (Rack 3.1).
fn protocols(ruby: &Ruby, head: &Parts) -> Result<Option<RArray>, Error> {
    if head.version != Version::HTTP_11 || !head.headers.contains_key(header::UPGRADE) {
        return Ok(None);
    }
    let names = ruby.ary_new();
    for line in head.headers.get_all(header::UPGRADE).iter().filter_map(|line| line.to_str().ok()) {
        for name in line.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            names.push(ruby.str_new(name))?;
        }
    }
    Ok(Some(names))
}

fn protocol(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

fn target(uri: &Uri) -> (&str, &str) {
    (uri.path(), uri.query().unwrap_or_default())
}

fn server_name(ruby: &Ruby, env: RHash, host: &str) -> Result<(), Error> {
    // The colon of an IPv6 address stands inside brackets.
    let colon = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    let (name, port) = colon.map_or((host, ""), |colon| (&host[..colon], &host[colon + 1..]));
    env.aset(word(ruby, "SERVER_NAME"), binary(ruby, name.as_bytes())?)?;
    env.aset(word(ruby, "SERVER_PORT"), word(ruby, if port.is_empty() { "80" } else { port }))
}

fn headers(ruby: &Ruby, env: RHash, headers: &HeaderMap, body_length: u64) -> Result<(), Error> {
    for name in headers.keys() {
        let key = match name.as_str() {
            // Its CGI name would be that of the one with dashes, which a proxy vouches for.
            text if text.contains('_') => continue,
            // httpoxy: libraries take HTTP_PROXY for a setting.
            "proxy" => continue,
            // The body is decoded; CONTENT_LENGTH says how long it is.
            "transfer-encoding" | "content-length" => continue,
            "content-type" => word(ruby, "CONTENT_TYPE"),
            _ => header_key(ruby, name),
        };
        let mut values = headers.get_all(name).iter();
        let first = values.next().map_or(&[][..], |value| value.as_bytes());
        let mut value = binary(ruby, first)?;
        let separator = if name == header::COOKIE { "; " } else { ", " };
        let mut joined: Option<Vec<u8>> = None;
        for more in values {
            let all = joined.get_or_insert_with(|| first.to_vec());
            all.extend_from_slice(separator.as_bytes());
            all.extend_from_slice(more.as_bytes());
        }
        if let Some(all) = joined {
            value = binary(ruby, &all)?;
        }
        env.aset(key, value)?;
    }
    if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
        env.aset(word(ruby, "CONTENT_LENGTH"), ruby.str_new(&body_length.to_string()))?;
    }
    Ok(())
}

/// What the app set as its handler.
pub fn handler(ruby: &Ruby, env: RHash) -> Option<Value> {
    env.get(word(ruby, "rack.upgrade")).filter(|handler| handler.to_bool())
}

/// Namespaces of what belongs to one pass through the app, and would keep much alive.
const TRANSIENT: [&str; 7] =
    ["rack.", "action_dispatch.", "action_controller.", "rails.", "sinatra.", "roda.", "push_server."];

/// What an open stream keeps of its env: what describes the request, and what the app added. An
/// env as a whole costs 2 KB, and often holds on to the objects that handled the request.
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
    let Ok(key) = RString::try_convert(key) else { return true };
    // SAFETY: the slice is not used beyond the next line, and nothing calls into Ruby meanwhile.
    let name = unsafe { key.as_slice() };
    matches!(name, b"rack.url_scheme" | b"rack.session" | b"rack.upgrade?")
        || !TRANSIENT.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}
