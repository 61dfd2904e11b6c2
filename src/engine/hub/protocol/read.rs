//! Frames from bytes.

use std::sync::Arc;

use super::{Frame, HEADER, Known, Position, ProtocolError, Refusal, Role, Rule, Unreachable, Welcome, kind};
use crate::channel::PresentMember;

/// Reads the frame at the beginning of `bytes`. Returns the frame and its length in bytes, or `None` if the frame is not
/// complete. If the frame is longer than `max` bytes, returns an error as soon as the length is complete, so the caller
/// never collects such a frame. Takes no more memory than the bytes do.
pub fn decode(bytes: &[u8], max: usize) -> Result<Option<(Frame<'_>, usize)>, ProtocolError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length.saturating_add(4) > max {
        return Err(ProtocolError::TooLong { length: length.saturating_add(4), max });
    }
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let Some((kind, body)) = frame.split_first() else { return Err(ProtocolError::Length(0)) };
    let mut body = Body { kind: *kind, rest: body };
    let frame = body.frame()?;
    if body.rest.is_empty() { Ok(Some((frame, length + HEADER - 1))) } else { Err(ProtocolError::Length(*kind)) }
}

/// The part of a body that was not read yet.
struct Body<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn frame(&mut self) -> Result<Frame<'a>, ProtocolError> {
        Ok(match self.kind {
            kind::HELLO => Frame::Hello {
                version: self.u16()?,
                role: self.role()?,
                author: self.u128()?,
                settled: self.u64()?,
                commands: self.u64()?,
                position: self.optional_position()?,
            },
            kind::RULES => Frame::Rules { generation: self.u32()?, rules: self.list(Self::rule)? },
            kind::PUBLISH => Frame::Publish { count: self.u64()?, message: self.all() },
            kind::COMMAND => Frame::Command { count: self.u64()?, command: self.all() },
            kind::ASK_POSITION => Frame::AskPosition { token: self.u64()? },
            kind::REPORT => Frame::Report { position: self.optional_position()?, after: self.u64()? },
            kind::WELCOME => Frame::Welcome(Welcome {
                version: self.u16()?,
                position: self.position()?,
                count: self.u64()?,
                seq: self.u64()?,
                commands: self.u64()?,
                credit: self.u32()?,
                longest: self.u32()?,
            }),
            kind::ASK_REPORT => Frame::AskReport,
            kind::CONTINUE => Frame::Continue { after: self.u64()? },
            kind::MESSAGE => {
                Frame::Message { seq: self.u64()?, author: self.u128()?, count: self.u64()?, message: self.all() }
            }
            kind::OWN => Frame::Own { count: self.u64()?, seq: self.u64()?, run: self.u32()? },
            kind::NUMBERED => Frame::Numbered { count: self.u64()?, seq: self.u64()?, run: self.u32()? },
            kind::STABLE => Frame::Stable { seq: self.u64()? },
            kind::CREDIT => Frame::Credit { bytes: self.u32()? },
            kind::POSITION => Frame::Position { token: self.u64()?, position: self.position()? },
            kind::REFUSED => Frame::Refused { count: self.u64()?, reason: self.reason()? },
            kind::RESET => Frame::Reset { position: self.position()?, since: self.u64()? },
            kind::FLOORS => Frame::Floors(self.list(|body| Ok((body.u64()?, body.text()?)))?),
            kind::FORGOTTEN => {
                let forgotten = Frame::Forgotten { key: self.u128()?, floors: self.list(Self::u64)? };
                match &forgotten {
                    Frame::Forgotten { floors, .. } if floors.len().is_power_of_two() => forgotten,
                    _ => return Err(ProtocolError::Value(self.kind)),
                }
            }
            kind::KEPT => Frame::Kept { seq: self.u64()?, message: self.all() },
            kind::MEMBERS => Frame::Members(self.list(Self::member)?),
            kind::AUTHORS => Frame::Authors(
                self.list(|body| Ok(Known { author: body.u128()?, count: body.u64()?, seq: body.u64()? }))?,
            ),
            kind::END => Frame::End,
            kind::RELAY => Frame::Relay { process: self.u32()?, id: self.u64()?, payload: self.all() },
            kind::UNREACHABLE => Frame::Unreachable {
                process: self.u32()?,
                id: self.u64()?,
                length: self.u32()?,
                why: self.unreachable()?,
            },
            kind::PARTED => Frame::Parted { process: self.u32()? },
            kind => return Err(ProtocolError::Kind(kind)),
        })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtocolError::Length(self.kind))?;
        self.rest = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8, ProtocolError> {
        let [byte] = self.take()?;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn u128(&mut self) -> Result<u128, ProtocolError> {
        Ok(u128::from_be_bytes(self.take()?))
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], ProtocolError> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(ProtocolError::Length(self.kind))?;
        self.rest = rest;
        Ok(slice)
    }

    fn text(&mut self) -> Result<&'a str, ProtocolError> {
        let length = self.u16()?.into();
        std::str::from_utf8(self.slice(length)?).map_err(|_| ProtocolError::Text(self.kind))
    }

    /// A text that may be longer.
    fn long_text(&mut self) -> Result<Arc<str>, ProtocolError> {
        let length = self.u32()? as usize;
        let text = std::str::from_utf8(self.slice(length)?).map_err(|_| ProtocolError::Text(self.kind))?;
        Ok(text.into())
    }

    /// Items up to the body's end. The bytes have no count, so that a damaged count reserves no memory.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, ProtocolError>) -> Result<Vec<T>, ProtocolError> {
        let mut items = Vec::new();
        while !self.rest.is_empty() {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn position(&mut self) -> Result<Position, ProtocolError> {
        Ok(Position { epoch: self.u64()?, last: self.u64()? })
    }

    fn optional_position(&mut self) -> Result<Option<Position>, ProtocolError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.position().map(Some),
            _ => Err(ProtocolError::Value(self.kind)),
        }
    }

    fn role(&mut self) -> Result<Role, ProtocolError> {
        match self.u8()? {
            0 => Ok(Role::Worker),
            1 => Ok(Role::Outsider),
            _ => Err(ProtocolError::Value(self.kind)),
        }
    }

    fn reason(&mut self) -> Result<Refusal, ProtocolError> {
        match self.u8()? {
            0 => Ok(Refusal::Broken),
            1 => Ok(Refusal::TooLong),
            2 => Ok(Refusal::TooManyChannels),
            _ => Err(ProtocolError::Value(self.kind)),
        }
    }

    fn member(&mut self) -> Result<PresentMember, ProtocolError> {
        let (channel, member, info) = (self.long_text()?, self.long_text()?, self.long_text()?);
        let length = (self.u32()? as usize).checked_mul(size_of::<u64>()).ok_or(ProtocolError::Length(self.kind))?;
        let (clients, _) = self.slice(length)?.as_chunks();
        Ok(PresentMember { channel, member, info, clients: clients.iter().map(|id| u64::from_be_bytes(*id)).collect() })
    }

    fn unreachable(&mut self) -> Result<Unreachable, ProtocolError> {
        match self.u8()? {
            0 => Ok(Unreachable::Away),
            1 => Ok(Unreachable::Full),
            2 => Ok(Unreachable::Ended),
            3 => Ok(Unreachable::Died),
            _ => Err(ProtocolError::Value(self.kind)),
        }
    }

    fn rule(&mut self) -> Result<Rule<'a>, ProtocolError> {
        Ok(Rule { glob: self.text()?, history: self.u32()?, ttl: self.u64()? })
    }
}
