//! Bytes from frames.

use std::time::{Instant, SystemTime};

use bytes::BufMut;

use super::{Frame, HEADER, Position, Refusal, Role, Unreachable, Welcome, kind};
use crate::channel::{Message, PresentMember, codec};

impl Frame<'_> {
    /// Appends the frame to `out`. A text must be shorter than 64 KiB, and the frame shorter than 4 GiB; the rest of a
    /// text that is longer is left out.
    pub fn encode(&self, out: &mut impl BufMut) {
        let (kind, length) = self.shape();
        put_header(kind, length, out);
        match self {
            Frame::Hello { version, role, author, settled, commands, position } => {
                out.put_u16(*version);
                out.put_u8(match role {
                    Role::Worker => 0,
                    Role::Outsider => 1,
                });
                out.put_u128(*author);
                out.put_u64(*settled);
                out.put_u64(*commands);
                put_optional(*position, out);
            }
            Frame::Rules { generation, rules } => {
                out.put_u32(*generation);
                for rule in rules {
                    put_text(rule.glob, out);
                    out.put_u32(rule.history);
                    out.put_u64(rule.ttl);
                }
            }
            Frame::Publish { count: number, message }
            | Frame::Command { count: number, command: message }
            | Frame::Kept { seq: number, message } => {
                out.put_u64(*number);
                out.put_slice(message);
            }
            Frame::AskPosition { token: number }
            | Frame::Continue { after: number }
            | Frame::Stable { seq: number } => {
                out.put_u64(*number);
            }
            Frame::Report { position, after } => {
                put_optional(*position, out);
                out.put_u64(*after);
            }
            Frame::Welcome(Welcome { version, position, count, seq, commands, credit, longest }) => {
                out.put_u16(*version);
                put_position(*position, out);
                out.put_u64(*count);
                out.put_u64(*seq);
                out.put_u64(*commands);
                out.put_u32(*credit);
                out.put_u32(*longest);
            }
            Frame::AskReport | Frame::End => {}
            Frame::Message { seq, author, count, message } => {
                out.put_u64(*seq);
                out.put_u128(*author);
                out.put_u64(*count);
                out.put_slice(message);
            }
            Frame::Own { count, seq, run } | Frame::Numbered { count, seq, run } => {
                out.put_u64(*count);
                out.put_u64(*seq);
                out.put_u32(*run);
            }
            Frame::Credit { bytes } => out.put_u32(*bytes),
            Frame::Position { token, position } => {
                out.put_u64(*token);
                put_position(*position, out);
            }
            Frame::Refused { count, reason } => {
                out.put_u64(*count);
                out.put_u8(match reason {
                    Refusal::Broken => 0,
                    Refusal::TooLong => 1,
                    Refusal::TooManyChannels => 2,
                });
            }
            Frame::Reset { position, since } => {
                put_position(*position, out);
                out.put_u64(*since);
            }
            Frame::Floors(floors) => {
                for (floor, name) in floors {
                    out.put_u64(*floor);
                    put_text(name, out);
                }
            }
            Frame::Forgotten { key, floors } => {
                out.put_u128(*key);
                floors.iter().for_each(|floor| out.put_u64(*floor));
            }
            Frame::Members(members) => {
                for own in members {
                    [&own.channel, &own.member, &own.info].into_iter().for_each(|text| put_long_text(text, out));
                    out.put_u32(own.clients.len() as u32);
                    own.clients.iter().for_each(|client| out.put_u64(*client));
                }
            }
            Frame::Relay { process, id, payload } => {
                out.put_u32(*process);
                out.put_u64(*id);
                out.put_slice(payload);
            }
            Frame::Unreachable { process, id, length, why } => {
                out.put_u32(*process);
                out.put_u64(*id);
                out.put_u32(*length);
                out.put_u8(match why {
                    Unreachable::Away => 0,
                    Unreachable::Full => 1,
                    Unreachable::Ended => 2,
                    Unreachable::Died => 3,
                });
            }
            Frame::Parted { process } => out.put_u32(*process),
            Frame::Authors(authors) => {
                for known in authors {
                    out.put_u128(known.author);
                    out.put_u64(known.count);
                    out.put_u64(known.seq);
                }
            }
        }
    }

    /// The kind, and the length of the body in bytes.
    fn shape(&self) -> (u8, usize) {
        const NUMBER: usize = 8;
        const POSITION: usize = 2 * NUMBER;
        let optional = |position: &Option<Position>| 1 + position.map_or(0, |_| POSITION);
        match self {
            Frame::Hello { position, .. } => (kind::HELLO, 2 + 1 + 16 + 2 * NUMBER + optional(position)),
            Frame::Rules { rules, .. } => {
                (kind::RULES, 4 + rules.iter().map(|rule| text_size(rule.glob) + 4 + NUMBER).sum::<usize>())
            }
            Frame::Publish { message, .. } => (kind::PUBLISH, NUMBER + message.len()),
            Frame::Command { command, .. } => (kind::COMMAND, NUMBER + command.len()),
            Frame::AskPosition { .. } => (kind::ASK_POSITION, NUMBER),
            Frame::Report { position, .. } => (kind::REPORT, optional(position) + NUMBER),
            Frame::Welcome(_) => (kind::WELCOME, 2 + POSITION + 3 * NUMBER + 2 * 4),
            Frame::AskReport => (kind::ASK_REPORT, 0),
            Frame::Continue { .. } => (kind::CONTINUE, NUMBER),
            Frame::Message { message, .. } => (kind::MESSAGE, 2 * NUMBER + 16 + message.len()),
            Frame::Own { .. } => (kind::OWN, 2 * NUMBER + 4),
            Frame::Numbered { .. } => (kind::NUMBERED, 2 * NUMBER + 4),
            Frame::Stable { .. } => (kind::STABLE, NUMBER),
            Frame::Credit { .. } => (kind::CREDIT, 4),
            Frame::Position { .. } => (kind::POSITION, NUMBER + POSITION),
            Frame::Refused { .. } => (kind::REFUSED, NUMBER + 1),
            Frame::Reset { .. } => (kind::RESET, POSITION + NUMBER),
            Frame::Floors(floors) => {
                (kind::FLOORS, floors.iter().map(|(_, name)| NUMBER + text_size(name)).sum::<usize>())
            }
            Frame::Forgotten { floors, .. } => (kind::FORGOTTEN, 16 + NUMBER * floors.len()),
            Frame::Kept { message, .. } => (kind::KEPT, NUMBER + message.len()),
            Frame::Members(members) => (kind::MEMBERS, members.iter().map(member_size).sum()),
            Frame::Authors(authors) => (kind::AUTHORS, authors.len() * (16 + 2 * NUMBER)),
            Frame::End => (kind::END, 0),
            Frame::Relay { payload, .. } => (kind::RELAY, 4 + NUMBER + payload.len()),
            Frame::Unreachable { .. } => (kind::UNREACHABLE, 4 + NUMBER + 4 + 1),
            Frame::Parted { .. } => (kind::PARTED, 4),
        }
    }
}

/// Appends a [`Frame::Publish`] with a message that is encoded now; `now` is the present time of both clocks.
pub fn publish(
    count: u64,
    message: &Message,
    now: (Instant, SystemTime),
    out: &mut Vec<u8>,
) -> Result<(), codec::CodecError> {
    around(kind::PUBLISH, out, |out| out.put_u64(count), message, now)
}

/// Appends a [`Frame::Kept`] with a message that is encoded now; `now` is the present time of both clocks.
pub fn kept(message: &Message, now: (Instant, SystemTime), out: &mut Vec<u8>) -> Result<(), codec::CodecError> {
    around(kind::KEPT, out, |out| out.put_u64(message.seq()), message, now)
}

/// Appends a [`Frame::Message`] with a message that is encoded now; `now` is the present time of both clocks.
pub fn message(
    (author, count): (u128, u64),
    message: &Message,
    now: (Instant, SystemTime),
    out: &mut Vec<u8>,
) -> Result<(), codec::CodecError> {
    let fields = |out: &mut Vec<u8>| {
        out.put_u64(message.seq());
        out.put_u128(author);
        out.put_u64(count);
    };
    around(kind::MESSAGE, out, fields, message, now)
}

/// Appends a frame whose body ends with a message. If there is an error, nothing is appended.
fn around(
    kind: u8,
    out: &mut Vec<u8>,
    fields: impl FnOnce(&mut Vec<u8>),
    message: &Message,
    now: (Instant, SystemTime),
) -> Result<(), codec::CodecError> {
    let start = out.len();
    put_header(kind, 0, out);
    fields(out);
    codec::encode(message, now, out).inspect_err(|_| out.truncate(start))?;
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_header(kind: u8, body: usize, out: &mut impl BufMut) {
    out.put_u32((body + HEADER - 4) as u32);
    out.put_u8(kind);
}

fn put_position(position: Position, out: &mut impl BufMut) {
    out.put_u64(position.epoch);
    out.put_u64(position.last);
}

fn put_optional(position: Option<Position>, out: &mut impl BufMut) {
    out.put_u8(position.is_some().into());
    if let Some(position) = position {
        put_position(position, out);
    }
}

/// A text that fits its length field.
fn clip(text: &str) -> &str {
    let most = text.len().min(u16::MAX.into());
    (0..=most).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

fn put_text(text: &str, out: &mut impl BufMut) {
    let text = clip(text);
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn put_long_text(text: &str, out: &mut impl BufMut) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn member_size(own: &PresentMember) -> usize {
    4 * 4 + own.channel.len() + own.member.len() + own.info.len() + 8 * own.clients.len()
}

fn text_size(text: &str) -> usize {
    2 + clip(text).len()
}
