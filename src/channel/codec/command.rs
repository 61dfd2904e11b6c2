//! Commands as bytes, beside messages.
//!
//! ```text
//! u32  length of what follows
//! u8   version: 1
//! u8   flags: bit 6, and no other
//! u8   what: 1 join, 2 leave, 3 expire, 4 disconnect
//!      fields
//! ```
//!
//! | what | fields |
//! |---|---|
//! | join | channel, member, u64 client, information |
//! | leave | channel, member, u64 client |
//! | expire | channel, member |
//! | disconnect | member, u32 the process that has closed its own clients; 2^32 - 1: none |
//!
//! A text is a u32 with its length, and UTF-8.

use std::sync::Arc;

use super::{CodecError, Decoded, LENGTH, MAX, VERSION, body, decode, take, take_slice, text};
use crate::channel::event::{Change, ChangeKind, Command};

/// The flag of a command. [`decode`] refuses it.
const COMMAND: u8 = 1 << 6;

const JOIN: u8 = 1;
const LEAVE: u8 = 2;
const EXPIRE: u8 = 3;
const DISCONNECT: u8 = 4;

/// No process has this number.
const NOBODY: u32 = u32::MAX;

/// What one entry of a log is.
#[derive(Debug)]
pub enum Entry<'a> {
    /// A message, which borrows from the bytes.
    Message(Decoded<'a>),
    /// A command.
    Command(Command),
}

/// Appends a command to `out`. Returns an error and appends nothing if it is too long for the format.
pub fn encode_command(command: &Command, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let begin = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    out.extend_from_slice(&[VERSION, COMMAND]);
    match command {
        Command::Member(Change { channel, member, kind }) => {
            out.push(match kind {
                ChangeKind::Join { .. } => JOIN,
                ChangeKind::Leave { .. } => LEAVE,
                ChangeKind::Expire => EXPIRE,
            });
            put(channel, out);
            put(member, out);
            match kind {
                ChangeKind::Join { client, info } => {
                    out.extend_from_slice(&client.to_be_bytes());
                    put(info, out);
                }
                ChangeKind::Leave { client } => out.extend_from_slice(&client.to_be_bytes()),
                ChangeKind::Expire => {}
            }
        }
        Command::Disconnect { member, done } => {
            out.push(DISCONNECT);
            put(member, out);
            out.extend_from_slice(&done.unwrap_or(NOBODY).to_be_bytes());
        }
    }
    let length = out.len() - begin - LENGTH;
    if length > MAX {
        out.truncate(begin);
        return Err(CodecError::TooLong { length, max: MAX });
    }
    // The cast is safe: MAX is less than 2^32.
    out[begin..begin + LENGTH].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Decodes the message or the command at the beginning of `bytes`, as [`decode`] does for messages.
pub fn decode_entry(bytes: &[u8], max: usize) -> Result<Option<(Entry<'_>, usize)>, CodecError> {
    if bytes.get(LENGTH + 1) != Some(&COMMAND) {
        return Ok(decode(bytes, max)?.map(|(message, length)| (Entry::Message(message), length)));
    }
    let Some((mut body, length)) = body(bytes, max)? else { return Ok(None) };
    let [_, what] = take(&mut body)?;
    let command = read(what, &mut body)?;
    if !body.is_empty() {
        return Err(CodecError::Truncated);
    }
    Ok(Some((Entry::Command(command), length)))
}

fn read(what: u8, body: &mut &[u8]) -> Result<Command, CodecError> {
    if what == DISCONNECT {
        let member = name(body)?;
        let done = Some(u32::from_be_bytes(take(body)?)).filter(|process| *process != NOBODY);
        return Ok(Command::Disconnect { member, done });
    }
    let (channel, member) = (name(body)?, name(body)?);
    let kind = match what {
        JOIN => ChangeKind::Join { client: u64::from_be_bytes(take(body)?), info: name(body)? },
        LEAVE => ChangeKind::Leave { client: u64::from_be_bytes(take(body)?) },
        EXPIRE => ChangeKind::Expire,
        _ => return Err(CodecError::Flags),
    };
    Ok(Command::Member(Change { channel, member, kind }))
}

fn put(text: &str, out: &mut Vec<u8>) {
    // A text that is longer makes the command too long, and it is refused.
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn name(body: &mut &[u8]) -> Result<Arc<str>, CodecError> {
    let length = u32::from_be_bytes(take(body)?) as usize;
    Ok(text(take_slice(body, length)?)?.into())
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::channel::{Draft, Limits, Message};
    use proptest::prelude::*;

    fn commands() -> impl Strategy<Value = Command> {
        let name = || "\\PC{0,20}".prop_map(Arc::<str>::from);
        let kind = prop_oneof![
            (any::<u64>(), name()).prop_map(|(client, info)| ChangeKind::Join { client, info }),
            any::<u64>().prop_map(|client| ChangeKind::Leave { client }),
            Just(ChangeKind::Expire),
        ];
        let member = (name(), name(), kind)
            .prop_map(|(channel, member, kind)| Command::Member(Change { channel, member, kind }));
        let disconnect =
            (name(), prop::option::of(0..NOBODY)).prop_map(|(member, done)| Command::Disconnect { member, done });
        prop_oneof![member, disconnect]
    }

    fn encoded(command: &Command) -> Vec<u8> {
        let mut out = Vec::new();
        encode_command(command, &mut out).unwrap();
        out
    }

    #[test]
    fn the_bytes_of_version_1() {
        let kind = ChangeKind::Join { client: 7, info: "{}".into() };
        let join = Command::Member(Change { channel: "c".into(), member: "m".into(), kind });
        let expected = [
            &[0, 0, 0, 27, 1, 0b100_0000, 1][..],
            &[0, 0, 0, 1, b'c', 0, 0, 0, 1, b'm'],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 0, 0, 2, b'{', b'}'],
        ];
        assert_eq!(encoded(&join), expected.concat());
    }

    #[test]
    fn bytes_that_are_no_command_are_refused() {
        let bytes = encoded(&Command::Disconnect { member: "m".into(), done: None });
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            decode_entry(&bytes, MAX).map(|found| found.is_some())
        };
        assert_eq!([changed(4, 2), changed(6, 9)], [Err(CodecError::Version(2)), Err(CodecError::Truncated)]);
        assert_eq!([changed(10, 9), changed(11, 0xFF)], [Err(CodecError::Truncated), Err(CodecError::Text)]);
        let longer = [&(bytes.len() as u32 - 3).to_be_bytes(), &bytes[LENGTH..], b"x"].concat();
        assert_eq!(decode_entry(&longer, MAX).unwrap_err(), CodecError::Truncated);
        let length = bytes.len() - LENGTH;
        assert!(matches!(decode_entry(&bytes, length - 1), Err(CodecError::TooLong { .. })));
        // It is no message.
        assert_eq!(decode(&bytes, MAX).unwrap_err(), CodecError::Flags);
    }

    #[test]
    fn messages_are_entries_too() {
        let message = Message::new(&Draft::text("c", b"hi"), &Limits::default(), Instant::now()).unwrap();
        let mut bytes = Vec::new();
        super::super::encode(&message, (Instant::now(), SystemTime::now()), &mut bytes).unwrap();
        let (Entry::Message(decoded), length) = decode_entry(&bytes, MAX).unwrap().unwrap() else { panic!() };
        assert_eq!((decoded.draft.payload, length), (&b"hi"[..], bytes.len()));
        assert!(decode_entry(&bytes[..bytes.len() - 1], MAX).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn decoding_returns_what_was_encoded(all in prop::collection::vec(commands(), 1..4)) {
            let bytes: Vec<u8> = all.iter().flat_map(encoded).collect();
            let mut rest = &bytes[..];
            for expected in &all {
                let (Entry::Command(command), taken) = decode_entry(rest, MAX).unwrap().unwrap() else { panic!() };
                prop_assert_eq!(&command, expected);
                prop_assert!(decode_entry(&rest[..taken - 1], MAX).unwrap().is_none());
                rest = &rest[taken..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_an_error_or_an_entry(mut bytes in prop::collection::vec(any::<u8>(), 0..200), command: bool) {
            if command && bytes.len() > LENGTH + 1 {
                let length = (bytes.len() - LENGTH) as u32;
                bytes[..LENGTH].copy_from_slice(&length.to_be_bytes());
                (bytes[LENGTH], bytes[LENGTH + 1]) = (VERSION, COMMAND);
            }
            let _ = decode_entry(&bytes, MAX);
        }
    }
}
