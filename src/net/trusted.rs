//! Proxies in front of the server, which may tell the client's address.

use std::net::IpAddr;

use thiserror::Error;

use super::Peer;

/// A text that is not a network.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("trusted proxy {0:?} is not an address or a network, such as 192.0.2.7, 10.0.0.0/8 or fd00::/8")]
pub struct BadNetwork(String);

/// The networks whose hosts are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    /// How many leading bits of an address count.
    bits: u32,
}

impl TrustedProxies {
    /// Parses the option `trusted_proxy`: addresses, and networks in CIDR notation (RFC 4632).
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadNetwork> {
        let parse = |text: &str| Network::parse(text).ok_or_else(|| BadNetwork(text.to_owned()));
        texts.into_iter().map(parse).collect::<Result<_, _>>().map(TrustedProxies)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the other end of a connection is one of them. The client of a Unix socket counts as 127.0.0.1.
    pub fn include(&self, peer: Peer) -> bool {
        self.include_ip(peer.ip())
    }

    /// Whether this is the address of one of them.
    pub fn include_ip(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.includes(ip.to_canonical()))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
        };
        Some(Network { address, bits })
    }

    fn includes(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => same(u32::from(own).into(), u32::from(ip).into(), 32 - self.bits),
            (IpAddr::V6(own), IpAddr::V6(ip)) => same(own.into(), ip.into(), 128 - self.bits),
            _ => false,
        }
    }
}

/// Whether two numbers are the same without their last `ignored` bits.
fn same(left: u128, right: u128, ignored: u32) -> bool {
    (left ^ right).checked_shr(ignored).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let rows = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ];
        for (network, ip, expected) in rows {
            let trusted = TrustedProxies::parse([network]).unwrap();
            assert_eq!(trusted.include_ip(ip.parse().unwrap()), expected, "{network} {ip}");
        }
        assert!(TrustedProxies::parse(["127.0.0.1"]).unwrap().include(Peer::Unix));
        assert!(!TrustedProxies::default().include(Peer::Unix));
    }

    #[test]
    fn what_is_no_network() {
        for bad in ["", "10.0.0.0/33", "::/129", "localhost", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1"] {
            assert_eq!(TrustedProxies::parse([bad]).unwrap_err(), BadNetwork(bad.to_owned()));
        }
    }
}
