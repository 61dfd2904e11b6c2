//! `rack.hijack` for a stream. The app gets one end of a pair of sockets, and speaks HTTP/1 there. The head that it writes
//! becomes that of the stream.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use h2::Reason;
use h2::server::SendResponse;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::translation;
use crate::base;
use crate::http::head::ResponseHead;
use crate::http::hijack::{Hijack, pump};
use crate::http::hijacked_body::HijackedBody;
use crate::http::response_headers::ResponseHeaders;
use crate::net::h2_received::Receiving;
use crate::net::h2_stream::{FrameBatch, H2Connection, H2Stream};
use crate::request_head::Method;

/// The longest head that an app may write.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;

/// Gives the app its end, and carries bytes between the other end and the stream. `receiving` is what a WebSocket's client
/// sends. It is `None` for a request, whose `method` is also the response's.
pub(super) async fn hand_over(
    mut respond: SendResponse<FrameBatch>,
    receiving: Option<Receiving>,
    connection: Arc<dyn H2Connection>,
    hijack: Hijack,
    method: Method,
    base: &base::Context,
) {
    if let Err(error) = try_hand_over(&mut respond, receiving, connection, hijack, method, base).await {
        log::debug!("a hijacked stream broke: {error}");
        respond.send_reset(Reason::INTERNAL_ERROR);
    }
}

async fn try_hand_over(
    respond: &mut SendResponse<FrameBatch>,
    receiving: Option<Receiving>,
    connection: Arc<dyn H2Connection>,
    hijack: Hijack,
    method: Method,
    base: &base::Context,
) -> io::Result<()> {
    let mut ours = hijack.app.into_pair()?;
    let same = UnixStream::from_std(ours.as_fd().try_clone_to_owned()?.into())?;
    let (mut head, mut behind) = (hijack.head, BytesMut::new());
    let head = loop {
        match head.take() {
            Some(head) if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS => {
                respond.send_informational(translation::response(head)).map_err(io::Error::other)?;
            }
            Some(head) => break head,
            None => tokio::select! {
                read = read_head(&mut ours, &mut behind) => {
                    let mut read = read?;
                    if receiving.is_some() {
                        translation::refuse_websocket(&mut read);
                    } else if read.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Err(invalid("the app changes the protocol, but only a WebSocket's stream can have another one"));
                    }
                    head = Some(read);
                }
                _ = poll_fn(|cx| respond.poll_reset(cx)) => return Ok(()),
            },
        }
    };
    let mut body = HijackedBody::of(&head, method)?;
    let send = respond.send_response(translation::response(head), false).map_err(io::Error::other)?;
    let mut stream = H2Stream::new(send, receiving, connection);
    let length = body.decode(&mut behind)?;
    stream.write_all(&behind[..length]).await?;
    pump(stream, ours, &same, &[], body, base).await
}

/// The head that the app writes. `read` has the bytes behind it.
async fn read_head(app: &mut UnixStream, read: &mut BytesMut) -> io::Result<ResponseHead> {
    loop {
        if let Some((head, length)) = parse_head(read)? {
            read.advance(length);
            return Ok(head);
        }
        if read.len() > MAX_HEAD {
            return Err(invalid("the app's head is too long"));
        }
        if app.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// A head, and its length. `None` if more must come.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(ResponseHead, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(bytes).map_err(|error| invalid(&format!("the app's head: {error}")))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| invalid("the app's status"))?;
    let mut headers = ResponseHeaders::new();
    for field in parsed.headers.iter() {
        headers.try_append(field.name.as_bytes(), field.value).map_err(|error| invalid(&error.to_string()))?;
    }
    Ok(Some((ResponseHead::new(status, headers), length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_head_that_an_app_writes() {
        let text = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: 1\r\nX: 2\r\n\r\n\x81\x00";
        for length in 0..text.len() - 2 {
            assert!(parse_head(&text[..length]).unwrap().is_none(), "{length}");
        }
        let (head, length) = parse_head(text).unwrap().unwrap();
        assert_eq!((head.status, head.headers.iter().count()), (StatusCode::SWITCHING_PROTOCOLS, 3));
        assert_eq!(&text[length..], b"\x81\x00");
        for wrong in ["garbage\r\n\r\n", "HTTP/1.1 099 \r\n\r\n"] {
            assert!(parse_head(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// A head that is whole does not depend on what follows, and none of its beginnings is one.
        #[test]
        fn a_head_ends_where_it_ends(
            head in "HTTP/1.[01] [0-9]{2,3}( [A-Za-z ]{0,9})?\r\n([A-Za-z-]{1,9}: ?[ -~]{0,9}\r\n){0,4}\r\n",
            behind: Vec<u8>,
        ) {
            let both = [head.as_bytes(), &behind].concat();
            let parsed = |bytes| parse_head(bytes).map(|it| it.map(|(head, length)| (head.status, head.headers, length)));
            match (parsed(head.as_bytes()), parsed(&both)) {
                (Ok(Some(alone)), Ok(Some(followed))) => {
                    prop_assert_eq!(alone.2, head.len());
                    prop_assert_eq!(alone, followed);
                    for length in 0..head.len() {
                        prop_assert!(parsed(&both[..length]).unwrap().is_none(), "{}", length);
                    }
                }
                (alone, followed) => prop_assert!(alone.is_err() && followed.is_err()),
            }
        }

        #[test]
        fn an_app_may_write_anything(bytes: Vec<u8>, text in "HTTP/1.1 [0-9]{3}[ -~\r\n]{0,80}") {
            for bytes in [&bytes, text.as_bytes()] {
                if let Ok(Some((_, length))) = parse_head(bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
