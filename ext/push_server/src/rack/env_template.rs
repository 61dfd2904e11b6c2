//! Env templates: what the envs of a listener's requests have in common. A request's env begins as a copy of one.

use std::net::{IpAddr, Ipv4Addr};

use magnus::gc::Marker;
use magnus::value::{Opaque, ReprValue};
use magnus::{Error, RHash, RString, Ruby, TryConvert};
use push_core::net::ListenerId;

use crate::support::cell::GvlCell;
use crate::support::interned::words;
use crate::support::jump::lookup;
use crate::support::raw::{guarded, guarded_hash};

/// The templates of all listeners of a server. There are few, so they are in no map.
///
/// The template of a retired listener stays, because its open connections still send requests.
#[derive(Default)]
pub struct Templates(GvlCell<Vec<(ListenerId, Template)>>);

/// The template of one listener.
///
/// Most requests of a server name the same host, and behind a proxy all have the same peer. So the template also has
/// what depends on the last host and the last peer.
pub struct Template {
    /// What does not depend on the request. Frozen, as `with_host`.
    base: RHash,
    /// `base`, and what depends on `host`.
    with_host: RHash,
    host: Vec<u8>,
    /// The port of a host that names none.
    port: &'static str,
    peer: IpAddr,
    address: Opaque<RString>,
}

impl Template {
    /// `base` is what does not depend on the request.
    pub fn new(ruby: &Ruby, base: RHash) -> Result<Self, Error> {
        let words = words(ruby);
        let scheme = lookup(base, ruby.get_inner(words.rack_url_scheme))?;
        let scheme = scheme.map(String::try_convert).transpose()?;
        let port = if scheme.as_deref() == Some("https") { "443" } else { "80" };
        // These are the values of most requests. Set here, they need not be set in each copy.
        let base = guarded_hash(ruby, |raw| {
            let env = raw.dup(base);
            raw.set(env, ruby.get_inner(words.request_method), ruby.get_inner(words.get));
            raw.set(env, ruby.get_inner(words.query_string), ruby.get_inner(words.empty));
            raw.set(env, ruby.get_inner(words.server_protocol), ruby.get_inner(words.http_11));
            raw.set(env, ruby.get_inner(words.rack_is_upgradeable), ruby.qnil());
            env
        })?;
        base.freeze();
        let peer = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Ok(Template { base, with_host: base, host: Vec::new(), port, peer, address: words.empty })
    }
}

impl Templates {
    /// Adds the template of a listener. No other thread of Ruby runs meanwhile.
    pub fn add(&self, ruby: &Ruby, listener: ListenerId, template: Template) {
        self.0.with(ruby, |templates| templates.push((listener, template)));
    }

    /// The template for requests to `host`, a name and maybe a port. `None`: the request names no host.
    pub fn get(&self, ruby: &Ruby, listener: ListenerId, host: Option<&str>) -> Result<RHash, Error> {
        let known = self.0.with(ruby, |templates| {
            let template = find(templates, listener)?;
            match host {
                None => Some((template.base, template.port, true)),
                Some(host) if host.as_bytes() == template.host => Some((template.with_host, template.port, true)),
                Some(_) => Some((template.base, template.port, false)),
            }
        });
        let unknown = || Error::new(ruby.exception_runtime_error(), format!("no listener {}", listener.0));
        let (base, port, ready) = known.ok_or_else(unknown)?;
        let Some(host) = host.filter(|_| !ready) else { return Ok(base) };
        let (name, port) = name_and_port(host, port);
        let words = words(ruby);
        let with_host = guarded_hash(ruby, |raw| {
            let env = raw.dup(base);
            raw.set(env, ruby.get_inner(words.http_host), raw.interned(host.as_bytes()));
            raw.set(env, ruby.get_inner(words.server_name), raw.interned(name.as_bytes()));
            raw.set(env, ruby.get_inner(words.server_port), raw.interned(port.as_bytes()));
            env
        })?;
        with_host.freeze();
        self.0.with(ruby, |templates| {
            if let Some(template) = find(templates, listener) {
                template.host = host.as_bytes().to_vec();
                template.with_host = with_host;
            }
        });
        Ok(with_host)
    }

    /// A peer's address, for `REMOTE_ADDR`: a frozen String.
    pub fn address(&self, ruby: &Ruby, listener: ListenerId, peer: IpAddr) -> Result<RString, Error> {
        let known = self.0.with(ruby, |templates| {
            find(templates, listener).filter(|template| template.peer == peer).map(|template| template.address)
        });
        if let Some(address) = known {
            return Ok(ruby.get_inner(address));
        }
        let text = peer.to_string();
        let address = RString::try_convert(guarded(ruby, |raw| raw.interned(text.as_bytes()))?)?;
        self.0.with(ruby, |templates| {
            if let Some(template) = find(templates, listener) {
                (template.peer, template.address) = (peer, address.into());
            }
        });
        Ok(address)
    }

    /// Called by the garbage collector.
    pub fn mark(&self, marker: &Marker) {
        self.0.while_marking(|templates| {
            for (_, template) in templates {
                marker.mark(template.base);
                marker.mark(template.with_host);
                marker.mark(template.address);
            }
        });
    }
}

fn find(templates: &mut [(ListenerId, Template)], listener: ListenerId) -> Option<&mut Template> {
    templates.iter_mut().find(|(id, _)| *id == listener).map(|(_, template)| template)
}

/// Whether a Host header names a port.
pub fn has_port(host: &str) -> bool {
    host.rfind(':').is_some_and(|colon| colon + 1 < host.len() && !host[colon..].contains(']'))
}

/// `usual` is the port if `host` names none.
fn name_and_port<'a>(host: &'a str, usual: &'a str) -> (&'a str, &'a str) {
    // The colons of an IPv6 address are inside brackets.
    let colon = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    let (name, port) = colon.map_or((host, ""), |colon| (&host[..colon], &host[colon + 1..]));
    (name, if port.is_empty() { usual } else { port })
}
