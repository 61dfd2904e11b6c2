use std::sync::Arc;
use std::time::{Instant, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::channel::{Draft, Limits, Message, PresentMember, codec};

const MAX: usize = 1 << 20;

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// What frames borrow from.
#[derive(Debug, Clone)]
struct Parts {
    numbers: [u64; 4],
    author: u128,
    names: Vec<String>,
    bytes: Vec<u8>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let names = prop::collection::vec(".{0,20}", 0..5);
    (any::<[u64; 4]>(), any::<u128>(), names, prop::collection::vec(any::<u8>(), 0..100))
        .prop_map(|(numbers, author, names, bytes)| Parts { numbers, author, names, bytes })
}

/// All frames that the parts make.
fn frames(parts: &Parts) -> Vec<Frame<'_>> {
    let Parts { numbers: [a, b, c, d], author, names, bytes } = parts;
    let (a, b, c, author) = (*a, *b, *c, *author);
    let position = Position { epoch: a, last: b };
    let (small, message) = (*d as u32, bytes.as_slice());
    let rules = names.iter().map(|glob| Rule { glob, history: small, ttl: c }).collect();
    let floors = names.iter().map(|name| (a, name.as_str())).collect();
    let forgotten = vec![b; 1 << (names.len() % 4)];
    let authors = names.iter().map(|_| Known { author, count: a, seq: b }).collect();
    let member = |name: &String| PresentMember {
        channel: name.as_str().into(),
        member: "u1".into(),
        info: names.concat().into(),
        clients: parts.numbers[..names.len() % 4].to_vec(),
    };
    let members = names.iter().map(member).collect();
    vec![
        Frame::Hello {
            version: small as u16,
            role: Role::Worker,
            author,
            settled: c,
            commands: b,
            position: Some(position),
        },
        Frame::Hello { version: small as u16, role: Role::Outsider, author, settled: c, commands: 0, position: None },
        Frame::Rules { generation: small, rules },
        Frame::Publish { count: a, message },
        Frame::Command { count: a, command: message },
        Frame::AskPosition { token: a },
        Frame::Report { position: Some(position), after: c },
        Frame::Report { position: None, after: c },
        Frame::Welcome(Welcome { version: 7, position, count: b, seq: c, commands: a, credit: small, longest: !small }),
        Frame::AskReport,
        Frame::Continue { after: a },
        Frame::Message { seq: a, author, count: b, message },
        Frame::Own { count: a, seq: b, run: small },
        Frame::Numbered { count: a, seq: b, run: small },
        Frame::Stable { seq: a },
        Frame::Credit { bytes: small },
        Frame::Position { token: c, position },
        Frame::Refused { count: a, reason: Refusal::Broken },
        Frame::Refused { count: a, reason: Refusal::TooLong },
        Frame::Refused { count: a, reason: Refusal::TooManyChannels },
        Frame::Reset { position, since: c },
        Frame::Floors(floors),
        Frame::Forgotten { key: author, floors: forgotten },
        Frame::Kept { seq: a, message },
        Frame::Members(members),
        Frame::Authors(authors),
        Frame::End,
        Frame::Relay { process: small, id: a, payload: message },
        Frame::Unreachable { process: small, id: a, length: !small, why: Unreachable::Away },
        Frame::Unreachable { process: small, id: a, length: small, why: Unreachable::Full },
        Frame::Unreachable { process: small, id: a, length: small, why: Unreachable::Ended },
        Frame::Unreachable { process: small, id: a, length: small, why: Unreachable::Died },
        Frame::Parted { process: small },
    ]
}

proptest! {
    #[test]
    fn every_frame_survives_its_bytes(parts in parts()) {
        for frame in frames(&parts) {
            let mut bytes = encoded(&frame);
            let length = bytes.len();
            for end in 0..length {
                prop_assert_eq!(decode(&bytes[..end], MAX), Ok(None), "{:?} cut at {}", frame, end);
            }
            bytes.extend_from_slice(b"next");
            prop_assert_eq!(decode(&bytes, MAX), Ok(Some((frame, length))));
        }
    }

    #[test]
    fn damaged_bytes_never_give_more_than_they_hold(parts in parts(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
        for frame in frames(&parts) {
            let mut bytes = encoded(&frame);
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(Some((frame, length))) = decode(&bytes, MAX) {
                prop_assert!(length <= bytes.len());
                // Whatever was read can be written again, to the same bytes.
                prop_assert_eq!(&encoded(&frame)[..], &bytes[..length]);
            }
            let cut = cut.index(bytes.len());
            let _ = decode(&bytes[cut..], MAX);
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some((frame, length))) = decode(&bytes, MAX) {
            prop_assert_eq!(&encoded(&frame)[..], &bytes[..length]);
        }
    }
}

#[test]
fn refuses_what_is_too_long_before_it_has_come() {
    let mut bytes = encoded(&Frame::Publish { count: 1, message: &[0; 100] });
    assert_eq!(decode(&bytes[..4], bytes.len() - 1), Err(ProtocolError::TooLong { length: 113, max: 112 }));
    assert_eq!(decode(&bytes[..4], bytes.len()), Ok(None));
    bytes[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(decode(&bytes, MAX), Err(ProtocolError::TooLong { .. })));
}

#[test]
fn refuses_what_it_does_not_know() {
    let frame = |bytes: &[u8]| {
        let mut all = (bytes.len() as u32).to_be_bytes().to_vec();
        all.extend_from_slice(bytes);
        decode(&all, MAX).map(|_| ())
    };
    assert_eq!(frame(&[]), Err(ProtocolError::Length(0)));
    assert_eq!(frame(&[0]), Err(ProtocolError::Kind(0)));
    for unknown in (66..72).chain(75..128) {
        assert_eq!(frame(&[unknown]), Err(ProtocolError::Kind(unknown)));
    }
    assert_eq!(frame(&[kind::END, 0]), Err(ProtocolError::Length(kind::END)));
    assert_eq!(frame(&[kind::STABLE, 0]), Err(ProtocolError::Length(kind::STABLE)));
    assert_eq!(frame(&[kind::REPORT, 2]), Err(ProtocolError::Value(kind::REPORT)));
    assert_eq!(frame(&[&[kind::FLOORS], &[0; 8][..], &[0, 1, 0xff]].concat()), Err(ProtocolError::Text(kind::FLOORS)));
    assert_eq!(
        frame(&[&[kind::UNREACHABLE], &[0; 16][..], &[4]].concat()),
        Err(ProtocolError::Value(kind::UNREACHABLE))
    );
    // No list of floors has no floor at all.
    assert_eq!(frame(&[&[kind::FORGOTTEN], &[0; 16][..]].concat()), Err(ProtocolError::Value(kind::FORGOTTEN)));
}

#[test]
fn the_version_keeps_its_place() {
    let hello =
        Frame::Hello { version: 0x0102, role: Role::Worker, author: 0, settled: 0, commands: 0, position: None };
    assert_eq!(encoded(&hello)[HEADER..HEADER + 2], [1, 2]);
}

#[test]
fn a_long_list_of_members_has_several_pieces() {
    let info: Arc<str> = "x".repeat(PIECE).into();
    let member = |client| PresentMember {
        channel: "c".into(),
        member: client_name(client),
        info: if client == 2 { Arc::clone(&info) } else { "1".into() },
        clients: vec![client],
    };
    let all: Vec<_> = (0..20_000).map(member).collect();
    let (mut rest, mut back, mut pieces) = (all.clone().into_iter(), Vec::new(), 0);
    while let Some(frame) = next_members(&mut rest) {
        let bytes = encoded(&frame);
        assert!(bytes.len() < 3 * PIECE);
        let (Frame::Members(members), _) = decode(&bytes, MAX).unwrap().unwrap() else { panic!() };
        back.extend(members);
        pieces += 1;
    }
    assert!(back == all && pieces > 5);
}

fn client_name(client: u64) -> Arc<str> {
    client.to_string().into()
}

#[test]
fn messages_are_encoded_in_place() {
    let now = (Instant::now(), SystemTime::now());
    let text = Message::new(&Draft::text("chat", b"hi"), &Limits::default(), now.0).unwrap();
    text.number(7);
    let mut plain = Vec::new();
    codec::encode(&text, now, &mut plain).unwrap();
    let mut out = b"before".to_vec();
    publish(3, &text, now, &mut out).unwrap();
    kept(&text, now, &mut out).unwrap();
    message((5, 3), &text, now, &mut out).unwrap();
    let mut expected = b"before".to_vec();
    Frame::Publish { count: 3, message: &plain }.encode(&mut expected);
    Frame::Kept { seq: 7, message: &plain }.encode(&mut expected);
    let frame = Frame::Message { seq: 7, author: 5, count: 3, message: &plain };
    frame.encode(&mut expected);
    assert_eq!(out, expected);
    assert_eq!(encoded(&frame).len(), OVERHEAD + plain.len());
}
