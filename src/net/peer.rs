//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The address of a client, or of the proxy in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A client that came by IPv4 or IPv6.
    Inet(SocketAddr),
    /// A client that came by a Unix socket, where clients have no address.
    Unix,
    /// A client of which a trusted proxy has told. Its port is not known.
    Forwarded(IpAddr),
}

impl Peer {
    /// The client's address, as the Rack env and the access log have it: one of IPv4 as such, even if the listening
    /// socket is for both families. A client that came by a Unix socket is on this machine: 127.0.0.1.
    pub fn ip(&self) -> IpAddr {
        match self {
            Peer::Inet(address) => address.ip().to_canonical(),
            Peer::Forwarded(ip) => ip.to_canonical(),
            Peer::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(address) => address.fmt(f),
            Peer::Forwarded(ip) => ip.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address() {
        let mapped = Peer::Inet("[::ffff:192.0.2.1]:80".parse().unwrap());
        assert_eq!(mapped.ip().to_string(), "192.0.2.1");
    }

    #[test]
    fn a_client_of_a_unix_socket_is_local() {
        assert!(Peer::Unix.ip().is_loopback());
        assert_eq!(Peer::Unix.to_string(), "unix");
    }
}
