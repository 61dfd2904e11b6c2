//! Env templates: what the envs of a listener's requests have in common.

use magnus::gc::Marker;
use magnus::value::ReprValue;
use magnus::{Error, RHash, Ruby, TryConvert};
use push_core::net::ListenerId;

use crate::rack::env_layout::Layouts;
use crate::rack::env_words::{Addresses, Hosts};
use crate::support::cell::GvlCell;
use crate::support::interned::words;
use crate::support::jump::lookup;
use crate::support::raw::guarded_hash;

/// The templates of all listeners of a server, and what is kept of the last requests to make envs quickly.
#[derive(Default)]
pub struct Templates {
    /// There are few, so they are in no map. The template of a retired listener stays, because its open connections still
    /// send requests.
    listeners: GvlCell<Vec<(ListenerId, Template)>>,
    pub hosts: Hosts,
    pub addresses: Addresses,
    pub layouts: Layouts,
}

/// The template of one listener.
#[derive(Clone, Copy)]
pub struct Template {
    /// What does not depend on the request. Frozen.
    pub base: RHash,
    /// The port of a host that names none.
    pub port: &'static str,
}

impl Template {
    /// `base` has the entries that do not depend on the request; it is copied. The error: no memory is left, or the scheme in it
    /// is no String.
    pub fn new(ruby: &Ruby, base: RHash) -> Result<Self, Error> {
        let words = words(ruby);
        let scheme = lookup(base, ruby.get_inner(words.rack_url_scheme))?;
        let scheme = scheme.map(String::try_convert).transpose()?;
        let port = default_port(scheme.as_deref() == Some("https"));
        let base = guarded_hash(ruby, |raw| {
            let env = raw.dup(base);
            // Most requests have this. Set here, it need not be set in each copy.
            raw.set(env, ruby.get_inner(words.rack_is_upgradeable), raw.nil());
            env
        })?;
        base.freeze();
        Ok(Template { base, port })
    }
}

impl Templates {
    /// Adds the template of a listener. No other thread of Ruby runs meanwhile.
    pub fn add(&self, ruby: &Ruby, listener: ListenerId, template: Template) {
        self.listeners.with(ruby, |listeners| listeners.push((listener, template)));
    }

    /// The template of a listener. The error is a `RuntimeError`: there is no such listener.
    pub fn of(&self, ruby: &Ruby, listener: ListenerId) -> Result<Template, Error> {
        let known = self.listeners.with(ruby, |listeners| listeners.iter().find(|(id, _)| *id == listener).copied());
        known
            .map(|(_, template)| template)
            .ok_or_else(|| Error::new(ruby.exception_runtime_error(), format!("no listener {}", listener.0)))
    }

    /// Called by the garbage collector.
    pub fn mark(&self, marker: &Marker) {
        self.listeners.while_marking(|listeners| listeners.iter().for_each(|(_, template)| marker.mark(template.base)));
        self.hosts.mark(marker);
        self.addresses.mark(marker);
        self.layouts.mark(marker);
    }
}

/// The port of a URL that names none.
pub fn default_port(https: bool) -> &'static str {
    if https { "443" } else { "80" }
}
