//! Frozen Strings that many envs have: of hosts and of addresses. Those of the last requests are kept.

use std::io::Write;
use std::net::IpAddr;

use magnus::gc::Marker;
use magnus::{Ruby, Value};

use crate::support::cell::GvlCell;
use crate::support::raw::Guarded;

/// How many hosts are kept. Most servers have few.
const HOSTS: usize = 8;
/// How many addresses are kept.
const ADDRESSES: usize = 64;
/// Length of the longest address as text, in bytes: an IPv6 address that ends like one of IPv4.
const LONGEST_ADDRESS: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

/// What an env has of the host that its request names.
#[derive(Clone, Copy)]
pub struct Host {
    /// The whole header.
    pub header: Value,
    pub name: Value,
    pub port: Value,
}

/// The hosts of the last requests.
#[derive(Default)]
pub struct Hosts(GvlCell<LastHosts>);

#[derive(Default)]
struct LastHosts {
    /// Each with the port of a host that names none.
    all: Vec<(Box<[u8]>, &'static str, Host)>,
    /// Which of them is replaced next.
    oldest: usize,
}

impl Hosts {
    /// The Strings of `header`: a name and maybe a port. If it names none, the port is `usual`.
    pub fn get(&self, ruby: &Ruby, raw: &Guarded, header: &str, usual: &'static str) -> Host {
        if let Some(known) = self.0.with(ruby, |last| last.get(header, usual)) {
            return known;
        }
        let (name, port) = name_and_port(header, usual);
        let [text, name, port] = [header, name, port].map(|part| raw.interned(part.as_bytes()));
        let host = Host { header: text, name, port };
        self.0.with(ruby, |last| last.add((header.as_bytes().into(), usual, host)));
        host
    }

    /// Called by the garbage collector.
    pub fn mark(&self, marker: &Marker) {
        self.0.while_marking(|last| {
            for (_, _, host) in &last.all {
                marker.mark_slice(&[host.header, host.name, host.port]);
            }
        });
    }
}

impl LastHosts {
    fn get(&self, header: &str, usual: &'static str) -> Option<Host> {
        let same = |known: &&(Box<[u8]>, &str, Host)| *known.0 == *header.as_bytes() && known.1 == usual;
        self.all.iter().find(same).map(|(_, _, host)| *host)
    }

    fn add(&mut self, host: (Box<[u8]>, &'static str, Host)) {
        if self.all.len() < HOSTS {
            self.all.push(host);
        } else {
            self.all[self.oldest] = host;
            self.oldest = (self.oldest + 1) % HOSTS;
        }
    }
}

/// The addresses of the last peers, each in the place that its last byte gives it.
pub struct Addresses(GvlCell<[Option<(IpAddr, Value)>; ADDRESSES]>);

impl Default for Addresses {
    fn default() -> Self {
        Addresses(GvlCell::new([None; ADDRESSES]))
    }
}

impl Addresses {
    /// The address as text.
    pub fn get(&self, ruby: &Ruby, raw: &Guarded, peer: IpAddr) -> Value {
        let last = match peer {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        let place = usize::from(last) % ADDRESSES;
        let known = self.0.with(ruby, |all| all[place].filter(|(address, _)| *address == peer));
        if let Some((_, text)) = known {
            return text;
        }
        // An array and no String: under the guard, nothing may have to be dropped.
        let mut text = [0; LONGEST_ADDRESS];
        let mut left = &mut text[..];
        // It has room for every address.
        let _ = write!(left, "{peer}");
        let length = LONGEST_ADDRESS - left.len();
        let text = raw.interned(&text[..length]);
        self.0.with(ruby, |all| all[place] = Some((peer, text)));
        text
    }

    /// Called by the garbage collector.
    pub fn mark(&self, marker: &Marker) {
        self.0.while_marking(|all| all.iter().flatten().for_each(|(_, text)| marker.mark(*text)));
    }
}

/// `usual` is the port if `host` names none.
fn name_and_port<'a>(host: &'a str, usual: &'a str) -> (&'a str, &'a str) {
    // The colons of an IPv6 address are inside brackets.
    let colon = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    let (name, port) = colon.map_or((host, ""), |colon| (&host[..colon], &host[colon + 1..]));
    (name, if port.is_empty() { usual } else { port })
}
