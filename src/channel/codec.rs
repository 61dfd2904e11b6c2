//! Messages and commands as bytes, for engines beyond this process.
//!
//! ```text
//! u32  length of what follows, at most 2^31 - 1
//! u8   version: 1
//! u8   flags: bits 0 and 1 the kind, bit 2 stored, bit 3 an id in `except`, bits 4 and 5 the event (0 the default,
//!      1 nameless, 2 given), bit 7 not to be compressed; bit 6 is 0
//! u64  when the message was published: microseconds since 1970
//! u64  the id in `except`, if there is one
//! u16  length of the channel's name, and the name
//! u32  length of the event's name, and the name, if one is given
//!      the payload: the rest
//! ```
//!
//! Numbers are big-endian. Names are UTF-8, and so are all payloads except those of binary messages. The decoder copies
//! no bytes, so decoding takes no memory, even for damaged bytes. `command` has the format of commands.

mod command;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

pub use command::{Entry, decode_entry, encode_command};

use super::draft::{Draft, EventName, Kind};
use super::message::Message;

/// The version of the format that this code writes and reads.
const VERSION: u8 = 1;

/// Bytes before the version.
const LENGTH: usize = 4;

/// The length's highest bit is reserved. The decoder refuses a length with this bit.
const MAX: usize = i32::MAX as usize;

const STORED: u8 = 1 << 2;
const EXCEPT: u8 = 1 << 3;
const NAMELESS: u8 = 1 << 4;
const GIVEN: u8 = 2 << 4;
const UNCOMPRESSED: u8 = 1 << 7;
const KNOWN: u8 = 0b1011_1111;

/// Why bytes are not a message, or why a message cannot become bytes.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum CodecError {
    /// The message is longer than the reader accepts, or than the format allows.
    #[error("a message of {length} bytes, where {max} are allowed")]
    TooLong {
        /// Bytes of the message.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The encoder has used another version of the format.
    #[error("the version of the message's format is {0}, not {VERSION}")]
    Version(u8),
    /// A flag that this version does not know, or two flags that exclude each other.
    #[error("flags that do not exist")]
    Flags,
    /// A field ends behind the message's end.
    #[error("a field is longer than its message")]
    Truncated,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
}

/// A decoded message, which borrows from the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Decoded<'a> {
    /// The message as its author gave it.
    pub draft: Draft<'a>,
    /// When the message was published, by the clock of its author's machine.
    pub published: SystemTime,
}

impl Decoded<'_> {
    /// When the message was published, by the monotonic clock of this process. `now` is the present time of both clocks.
    /// If the author's clock is ahead, the time of publication may be in the future; then the result is `now`.
    pub fn published_at(&self, now: (Instant, SystemTime)) -> Instant {
        let age = now.1.duration_since(self.published).unwrap_or_default();
        // An Instant cannot be before the machine was started.
        now.0.checked_sub(age).unwrap_or(now.0)
    }
}

/// Appends a message to `out`. `now` is the present time of both clocks, because [`Message::published`] is an `Instant`.
/// Returns an error and appends nothing if the message is too long for the format.
pub fn encode(message: &Message, now: (Instant, SystemTime), out: &mut Vec<u8>) -> Result<(), CodecError> {
    let channel = message.channel().as_bytes();
    let event = match message.event() {
        EventName::Given(name) => Some(name.as_bytes()),
        EventName::Default | EventName::Nameless => None,
    };
    let fixed = 2 + 8 + 8 * usize::from(message.except().is_some()) + 2 + if event.is_some() { 4 } else { 0 };
    let length = fixed + channel.len() + event.map_or(0, <[u8]>::len) + message.payload().len();
    let name = u16::try_from(channel.len()).map_err(|_| CodecError::TooLong { length, max: MAX })?;
    let header = u32::try_from(length).ok().filter(|_| length <= MAX);
    let header = header.ok_or(CodecError::TooLong { length, max: MAX })?;
    let mut flags = kind_bits(message.kind());
    flags |= if message.stored() { STORED } else { 0 };
    flags |= if message.except().is_some() { EXCEPT } else { 0 };
    flags |= if message.compress() { 0 } else { UNCOMPRESSED };
    flags |= match message.event() {
        EventName::Default => 0,
        EventName::Nameless => NAMELESS,
        EventName::Given(_) => GIVEN,
    };
    let age = now.0.saturating_duration_since(message.published());
    let published = now.1.checked_sub(age).and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    out.reserve(LENGTH + length);
    out.extend_from_slice(&header.to_be_bytes());
    out.extend_from_slice(&[VERSION, flags]);
    out.extend_from_slice(&u64::try_from(published.as_micros()).unwrap_or(u64::MAX).to_be_bytes());
    if let Some(except) = message.except() {
        out.extend_from_slice(&except.to_be_bytes());
    }
    out.extend_from_slice(&name.to_be_bytes());
    out.extend_from_slice(channel);
    if let Some(event) = event {
        // The cast is safe: the name is shorter than the message, and the length of the message fits.
        out.extend_from_slice(&(event.len() as u32).to_be_bytes());
        out.extend_from_slice(event);
    }
    out.extend_from_slice(message.payload());
    Ok(())
}

/// Decodes the message at the beginning of `bytes`. Returns the message and its length in bytes, or `None` if the message
/// is not complete. If the message is longer than `max` bytes, returns an error as soon as the length field is complete,
/// so the caller never collects such a message.
pub fn decode(bytes: &[u8], max: usize) -> Result<Option<(Decoded<'_>, usize)>, CodecError> {
    let Some((mut body, length)) = body(bytes, max)? else { return Ok(None) };
    let [flags] = take(&mut body)?;
    if flags & !KNOWN != 0 {
        return Err(CodecError::Flags);
    }
    let micros = u64::from_be_bytes(take(&mut body)?);
    let except = if flags & EXCEPT == 0 { None } else { Some(u64::from_be_bytes(take(&mut body)?)) };
    let name = u16::from_be_bytes(take(&mut body)?).into();
    let channel = text(take_slice(&mut body, name)?)?;
    let event = match flags & (NAMELESS | GIVEN) {
        0 => EventName::Default,
        NAMELESS => EventName::Nameless,
        GIVEN => {
            let name = u32::from_be_bytes(take(&mut body)?) as usize;
            EventName::Given(text(take_slice(&mut body, name)?)?)
        }
        _ => return Err(CodecError::Flags),
    };
    let kind = kind_of(flags);
    if kind != Kind::Binary {
        text(body)?;
    }
    let published = UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(UNIX_EPOCH);
    let (store, compress) = (flags & STORED != 0, flags & UNCOMPRESSED == 0);
    let draft = Draft { channel, payload: body, kind, event, store, except, compress };
    Ok(Some((Decoded { draft, published }, length)))
}

/// What the entry at the beginning of `bytes` has behind its version, and the length of the whole entry. `None` and errors are
/// those of [`decode`].
fn body(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, CodecError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    let max = max.min(MAX);
    if length > max {
        return Err(CodecError::TooLong { length, max });
    }
    let Some(mut body) = rest.get(..length) else { return Ok(None) };
    let [version] = take(&mut body)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    Ok(Some((body, LENGTH + length)))
}

fn kind_bits(kind: Kind) -> u8 {
    match kind {
        Kind::Text => 0,
        Kind::Binary => 1,
        Kind::Utf8Bytes => 2,
        Kind::Server => 3,
    }
}

fn kind_of(flags: u8) -> Kind {
    match flags & 0b11 {
        0 => Kind::Text,
        1 => Kind::Binary,
        2 => Kind::Utf8Bytes,
        _ => Kind::Server,
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
    *bytes = rest;
    Ok(*first)
}

fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], CodecError> {
    let (first, rest) = bytes.split_at_checked(length).ok_or(CodecError::Truncated)?;
    *bytes = rest;
    Ok(first)
}

fn text(bytes: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(bytes).map_err(|_| CodecError::Text)
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;
    use proptest::prelude::*;

    fn present() -> (Instant, SystemTime) {
        (Instant::now(), SystemTime::now())
    }

    fn encoded(draft: &Draft<'_>, age: Duration, now: (Instant, SystemTime)) -> Vec<u8> {
        let published = now.0.checked_sub(age).unwrap();
        let message = Message::new(draft, &Limits { max_name: 70_000, ..Limits::default() }, published).unwrap();
        let mut out = Vec::new();
        encode(&message, now, &mut out).unwrap();
        out
    }

    type Fields<'a> = (&'a str, &'a [u8], Kind, EventName<&'a str>, (bool, bool), Option<u64>);

    fn parts<'a>(draft: &Draft<'a>) -> Fields<'a> {
        (draft.channel, draft.payload, draft.kind, draft.event, (draft.store, draft.compress), draft.except)
    }

    #[test]
    fn the_bytes_of_version_1() {
        let draft =
            Draft { event: EventName::Given("e"), except: Some(7), compress: false, ..Draft::text("room", b"hi") };
        let now = (Instant::now(), UNIX_EPOCH + Duration::from_micros(0x0102));
        let expected = [
            &[0, 0, 0, 31, 1, 0b1010_1100][..],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 4],
            b"room",
            &[0, 0, 0, 1],
            b"e",
            b"hi",
        ];
        assert_eq!(encoded(&draft, Duration::ZERO, now), expected.concat());
    }

    #[test]
    fn a_message_keeps_its_age_on_another_machine() {
        let (here, age) = (present(), Duration::from_secs(3));
        let bytes = encoded(&Draft::text("c", b""), age, here);
        let (decoded, _) = decode(&bytes, MAX).unwrap().unwrap();
        let there = (Instant::now() + Duration::from_secs(100), here.1 + Duration::from_secs(1));
        let elapsed = there.0 - decoded.published_at(there);
        assert!((elapsed.as_secs_f64() - 4.0).abs() < 0.001, "{elapsed:?}");
        // This machine's clock is behind the author's clock.
        let early = (Instant::now(), here.1 - Duration::from_secs(60));
        assert_eq!(decoded.published_at(early), early.0);
        assert_eq!(decoded.published_at((early.0, SystemTime::UNIX_EPOCH)), early.0);
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let bytes =
            encoded(&Draft { event: EventName::Given("e"), ..Draft::text("c", b"hi") }, Duration::ZERO, present());
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            decode(&bytes, MAX).map(|found| found.is_some())
        };
        assert_eq!(changed(4, 2), Err(CodecError::Version(2)));
        assert_eq!([changed(5, 0x40), changed(5, 0x30)], [Err(CodecError::Flags); 2]);
        assert_eq!([changed(14, 1), changed(17, 1)], [Err(CodecError::Truncated); 2]);
        assert_eq!(changed(16, 0xFF), Err(CodecError::Text));
        assert_eq!(changed(bytes.len() - 1, 0xFF), Err(CodecError::Text));
        // A message that is too long is refused before its last byte arrives.
        let length = bytes.len() - LENGTH;
        let long = CodecError::TooLong { length, max: length - 1 };
        assert_eq!(decode(&bytes[..LENGTH], length - 1).unwrap_err(), long);
        assert!(matches!(decode(&[0xFF; LENGTH], usize::MAX), Err(CodecError::TooLong { .. })));
        assert!(decode(&bytes[..bytes.len() - 1], MAX).unwrap().is_none() && decode(&[], MAX).unwrap().is_none());
        assert_eq!(decode(&[0, 0, 0, 1, 1], MAX).unwrap_err(), CodecError::Truncated);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let now = present();
        let name = "x".repeat(70_000);
        let message =
            Message::new(&Draft::text(&name, b""), &Limits { max_name: 70_000, ..Limits::default() }, now.0).unwrap();
        let mut out = vec![7];
        assert!(matches!(encode(&message, now, &mut out), Err(CodecError::TooLong { .. })));
        assert_eq!(out, [7]);
    }

    prop_compose! {
        fn drafts()(
            channel in "\\PC{1,40}",
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            text in "\\PC{0,80}",
            kind in prop_oneof![Just(Kind::Text), Just(Kind::Binary), Just(Kind::Utf8Bytes), Just(Kind::Server)],
            event in prop_oneof![Just(EventName::Default), Just(EventName::Nameless), "\\PC{0,20}".prop_map(EventName::Given)],
            store: bool,
            compress: bool,
            except in prop::option::of(any::<u64>()),
        ) -> Parts {
            let payload = if kind == Kind::Binary { bytes } else { text.into_bytes() };
            (channel, payload, kind, event, (store, compress), except)
        }
    }

    type Parts = (String, Vec<u8>, Kind, EventName<String>, (bool, bool), Option<u64>);

    fn draft((channel, payload, kind, event, (store, compress), except): &Parts) -> Draft<'_> {
        let event = match event {
            EventName::Default => EventName::Default,
            EventName::Nameless => EventName::Nameless,
            EventName::Given(name) => EventName::Given(name.as_str()),
        };
        Draft { channel, payload, kind: *kind, event, store: *store, except: *except, compress: *compress }
    }

    proptest! {
        #[test]
        fn decoding_returns_what_was_encoded(all in prop::collection::vec(drafts(), 1..4), age in 0u64..10_000) {
            let now = present();
            let bytes: Vec<u8> =
                all.iter().flat_map(|parts| encoded(&draft(parts), Duration::from_micros(age), now)).collect();
            let mut rest = &bytes[..];
            for expected in &all {
                let (decoded, taken) = decode(rest, MAX).unwrap().unwrap();
                prop_assert_eq!(parts(&decoded.draft), parts(&draft(expected)));
                let lost = decoded.published_at(now).checked_duration_since(now.0 - Duration::from_micros(age));
                prop_assert!(lost.is_none_or(|lost| lost < Duration::from_micros(2)));
                rest = &rest[taken..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_an_error_or_a_message(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0usize..300) {
            let _ = decode(&bytes, max);
        }

        #[test]
        fn damaged_bytes_are_an_error_or_a_message(
            parts in drafts(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encoded(&draft(&parts), Duration::ZERO, present());
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(Some((decoded, taken))) = decode(bytes, MAX) {
                    prop_assert!(taken <= bytes.len() && decoded.draft.payload.len() < taken);
                    // A message of a text kind has a payload that is UTF-8.
                    prop_assert!(decoded.draft.kind == Kind::Binary || std::str::from_utf8(decoded.draft.payload).is_ok());
                }
            }
        }
    }
}
