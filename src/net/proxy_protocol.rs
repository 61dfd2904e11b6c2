//! The PROXY protocol, version 2: the header with which a proxy begins a connection. It has the client's address.
//! <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Peer;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The most bytes behind the first 16: addresses, and extensions (TLVs), which are skipped.
const MOST: u16 = 4096;

/// Why a connection has no client.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The first bytes are others: a client that came without the proxy, or a proxy that does not speak version 2.
    #[error("the connection does not begin with a PROXY protocol header of version 2")]
    Signature,
    /// As many proxies send it unless they are told otherwise.
    #[error("it begins with a PROXY protocol header of version 1: have the proxy send version 2")]
    Version1,
    /// The header is not as the protocol says.
    #[error("its PROXY protocol header is malformed: {0}")]
    Malformed(&'static str),
    /// The connection has ended.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header, and nothing behind it. Returns the client; `None` if the connection is the proxy's own, such as for a health
/// check, or does not have the client's address.
pub async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<Peer>, ProxyError> {
    let mut head = [0; 16];
    socket.read_exact(&mut head).await?;
    if head.starts_with(b"PROXY ") {
        return Err(ProxyError::Version1);
    }
    if head[..12] != SIGNATURE {
        return Err(ProxyError::Signature);
    }
    let length = u16::from_be_bytes([head[14], head[15]]);
    if length > MOST {
        return Err(ProxyError::Malformed("it is too long"));
    }
    let mut rest = vec![0; length.into()];
    socket.read_exact(&mut rest).await?;
    client(head[12], head[13], &rest)
}

fn client(command: u8, family: u8, rest: &[u8]) -> Result<Option<Peer>, ProxyError> {
    match command {
        // LOCAL
        0x20 => return Ok(None),
        // PROXY
        0x21 => {}
        _ => return Err(ProxyError::Malformed("unknown version or command")),
    }
    let short = || ProxyError::Malformed("its addresses are cut off");
    Ok(match family {
        // Unspecified.
        0x00 => None,
        // TCP over IPv4 and IPv6.
        0x11 => Some(Peer::Inet(inet::<4>(rest).ok_or_else(short)?)),
        0x21 => Some(Peer::Inet(inet::<16>(rest).ok_or_else(short)?)),
        // A stream of the Unix family.
        0x31 if rest.len() >= 216 => Some(Peer::Unix),
        0x31 => return Err(short()),
        _ => return Err(ProxyError::Malformed("neither TCP nor a Unix stream")),
    })
}

/// The source of: source, destination, port of the source, port of the destination.
fn inet<const N: usize>(bytes: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let (address, rest) = bytes.split_first_chunk::<N>()?;
    let (_, ports) = rest.split_first_chunk::<N>()?;
    let ports = ports.first_chunk::<4>()?;
    Some(SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE, &[command, family][..], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    /// What is read, and how many bytes are left.
    fn parse(bytes: &[u8]) -> (Result<Option<Peer>, String>, usize) {
        let mut input = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read(&mut input)).map_err(|error| error.to_string());
        (result, input.len())
    }

    fn inet(text: &str) -> Result<Option<Peer>, String> {
        Ok(Some(Peer::Inet(text.parse().unwrap())))
    }

    #[test]
    fn clients_of_all_families() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0, 80, 0, 80]].concat();
        let tlv = [&v4[..], &[0x04, 0, 1, 0]].concat();
        let rows = [
            (header(0x21, 0x11, &v4), inet("203.0.113.9:4660")),
            (header(0x21, 0x11, &tlv), inet("203.0.113.9:4660")),
            (header(0x21, 0x21, &v6), inet("[2001:db8::1]:80")),
            (header(0x21, 0x31, &[0; 216]), Ok(Some(Peer::Unix))),
            (header(0x21, 0x00, &[1, 2, 3]), Ok(None)),
            (header(0x20, 0x11, &v4), Ok(None)),
            (header(0x20, 0x00, &[]), Ok(None)),
        ];
        for (bytes, expected) in rows {
            let with_request = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&with_request), (expected, 16), "{bytes:?}");
            for end in 0..bytes.len() {
                assert!(parse(&bytes[..end]).0.is_err(), "cut off: {end} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_malformed() {
        let v4 = [0; 12];
        for bytes in [
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            header(0x11, 0x11, &v4),
            header(0x22, 0x11, &v4),
            header(0x21, 0x12, &v4),
            header(0x21, 0x11, &v4[..11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x21, 0x31, &[0; 215]),
            header(0x21, 0x11, &[0; MOST as usize + 1]),
        ] {
            assert!(parse(&bytes).0.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_come(rest: Vec<u8>, command: u8, family: u8) {
            let _ = parse(&header(command, family, &rest));
            let _ = parse(&rest);
        }
    }
}
