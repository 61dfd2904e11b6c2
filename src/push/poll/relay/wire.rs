//! What processes say to each other about polls: the payloads of parcels.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::push::poll::Owner;
use crate::push::poll::ticket::Ticket;

/// What a payload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    // ---- to the process that has the session -----------------------------------------------
    /// The app has accepted a poll.
    Ask(Request, Duration),
    /// The app has refused a poll.
    Refused(Request),
    /// The poll needs no answer any more.
    Cancel,
    /// So many bytes of pieces have been taken.
    Took(u32),

    // ---- to the process that has the poll --------------------------------------------------
    /// The session goes on, and will answer the poll.
    Accepted,
    /// There is no such session, or it has another owner or another place.
    NoSession,
    /// A part of the answer.
    Piece(Piece),
}

/// A poll of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    pub(super) place: String,
    pub(super) owner: Owner,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes of the answer before it. One that is missing is noticed.
    pub(super) offset: u64,
    /// It is the end of the answer.
    pub(super) last: bool,
    pub(super) bytes: Bytes,
}

mod kind {
    pub(super) const ASK: u8 = 1;
    pub(super) const REFUSED: u8 = 2;
    pub(super) const CANCEL: u8 = 3;
    pub(super) const TOOK: u8 = 4;
    pub(super) const ACCEPTED: u8 = 16;
    pub(super) const NO_SESSION: u8 = 17;
    pub(super) const PIECE: u8 = 18;
}

impl Said {
    /// Its bytes.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Said::Ask(request, wait) => {
                out.put_u8(kind::ASK);
                out.put_u64(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                request.encode(&mut out);
            }
            Said::Refused(request) => {
                out.put_u8(kind::REFUSED);
                request.encode(&mut out);
            }
            Said::Cancel => out.put_u8(kind::CANCEL),
            Said::Took(bytes) => {
                out.put_u8(kind::TOOK);
                out.put_u32(*bytes);
            }
            Said::Accepted => out.put_u8(kind::ACCEPTED),
            Said::NoSession => out.put_u8(kind::NO_SESSION),
            Said::Piece(Piece { offset, last, bytes }) => {
                out.reserve(1 + 8 + 1 + bytes.len());
                out.put_u8(kind::PIECE);
                out.put_u64(*offset);
                out.put_u8((*last).into());
                out.put_slice(bytes);
            }
        }
        out.freeze()
    }

    /// What the bytes say. `None`: nothing that this version knows.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Said> {
        let said = match bytes.try_get_u8().ok()? {
            kind::ASK => {
                let wait = Duration::from_millis(bytes.try_get_u64().ok()?);
                Said::Ask(Request::decode(&mut bytes)?, wait)
            }
            kind::REFUSED => Said::Refused(Request::decode(&mut bytes)?),
            kind::CANCEL => Said::Cancel,
            kind::TOOK => Said::Took(bytes.try_get_u32().ok()?),
            kind::ACCEPTED => Said::Accepted,
            kind::NO_SESSION => Said::NoSession,
            kind::PIECE => {
                let (offset, last) = (bytes.try_get_u64().ok()?, flag(&mut bytes)?);
                return Some(Said::Piece(Piece { offset, last, bytes }));
            }
            _ => return None,
        };
        bytes.is_empty().then_some(said)
    }
}

impl Request {
    fn encode(&self, out: &mut BytesMut) {
        put(self.ticket.to_string().as_bytes(), out);
        put(self.place.as_bytes(), out);
        out.put_u8(self.owner.is_some().into());
        put(self.owner.as_deref().unwrap_or_default(), out);
    }

    fn decode(bytes: &mut Bytes) -> Option<Self> {
        let ticket = Ticket::parse(std::str::from_utf8(&take(bytes)?).ok()?)?;
        let place = String::from_utf8(take(bytes)?.into()).ok()?;
        let (named, owner) = (flag(bytes)?, take(bytes)?);
        Some(Request { ticket, place, owner: named.then(|| owner.to_vec().into_boxed_slice()) })
    }
}

fn put(field: &[u8], out: &mut BytesMut) {
    // A request's head is shorter than 4 GiB.
    out.put_u32(field.len() as u32);
    out.put_slice(field);
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.try_get_u32().ok()? as usize;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn flag(bytes: &mut Bytes) -> Option<bool> {
    match bytes.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(place: String, owner: Option<Vec<u8>>, number: u32, rest: Vec<u8>) -> Vec<Said> {
        let id = format!("ab-7.{:05x}{:032x}.{number}", number >> 12, u128::from(number));
        let owner = owner.map(Vec::into_boxed_slice);
        let request = Request { ticket: Ticket::parse(&id).unwrap(), place, owner };
        vec![
            Said::Ask(request.clone(), Duration::from_millis(number.into())),
            Said::Refused(request),
            Said::Cancel,
            Said::Took(number),
            Said::Accepted,
            Said::NoSession,
            Said::Piece(Piece { offset: number.into(), last: number.is_multiple_of(2), bytes: rest.into() }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_said_survives_its_bytes(
            place in ".{0,40}", owner: Option<Vec<u8>>, number: u32, rest: Vec<u8>, cut: prop::sample::Index
        ) {
            for said in all(place, owner, number, rest) {
                let bytes = said.encode();
                let shorter = bytes.slice(..cut.index(bytes.len()));
                prop_assert_ne!(Said::decode(shorter), Some(said.clone()));
                prop_assert_eq!(Said::decode(bytes), Some(said));
            }
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Said::decode(bytes.into());
        }
    }
}
