//! What the decoder makes of frames, however they are cut.

use super::*;
use proptest::prelude::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut wire = vec![first];
    match payload.len() {
        length @ 0..=125 => wire.push(0x80 | length as u8),
        length => {
            wire.push(0x80 | 126);
            wire.extend((length as u16).to_be_bytes());
        }
    }
    wire.extend(mask);
    wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    wire
}

fn all(wire: &[u8]) -> Result<Vec<Incoming>, CloseStatus> {
    pieces(&[wire])
}

fn pieces(pieces: &[&[u8]]) -> Result<Vec<Incoming>, CloseStatus> {
    let mut decoder = Decoder::new(1000);
    let mut seen = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(incoming) = decoder.decode(&mut input)? {
            let closed = matches!(incoming, Incoming::Close(_));
            seen.push(incoming);
            if closed {
                return Ok(seen);
            }
        }
    }
    Ok(seen)
}

fn text(text: &str) -> Incoming {
    Incoming::Message(Message::Text(Bytes::copy_from_slice(text.as_bytes())))
}

#[test]
fn messages_fragments_and_control_frames_between_them() {
    let wire = [masked(0x01, b"He"), masked(0x89, b"?"), masked(0x80, b"llo"), masked(0x82, &[0, 255])].concat();
    let binary = Incoming::Message(Message::Binary(Bytes::from_static(&[0, 255])));
    assert_eq!(all(&wire).unwrap(), [Incoming::Ping(Bytes::from_static(b"?")), text("Hello"), binary]);
}

#[test]
fn close_with_and_without_a_code() {
    assert_eq!(all(&masked(0x88, b"")).unwrap(), [Incoming::Close(CloseStatus::new(1005, ""))]);
    let wire = masked(0x88, b"\x0f\xa1bye");
    assert_eq!(all(&wire).unwrap(), [Incoming::Close(CloseStatus::new(4001, "bye"))]);
}

/// RFC 6455: the section that refuses each.
#[test]
fn refusals() {
    let long = "x".repeat(1001);
    let rows: &[(&str, Vec<u8>, u16)] = &[
        ("5.1 unmasked", vec![0x81, 1, b'a'], 1002),
        ("5.2 RSV1", masked(0xC1, b"a"), 1002),
        ("5.2 reserved data opcode", masked(0x83, b"a"), 1002),
        ("5.2 reserved control opcode", masked(0x8B, b"a"), 1002),
        ("5.5 fragmented control frame", masked(0x09, b"a"), 1002),
        ("5.5 control frame of 126 bytes", masked(0x89, &[b'a'; 126]), 1002),
        ("5.4 continuation without a start", masked(0x80, b"a"), 1002),
        ("5.4 a new message inside another", [masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002),
        ("5.5.1 close payload of one byte", masked(0x88, b"a"), 1002),
        ("7.4.1 close code 1005", masked(0x88, &1005u16.to_be_bytes()), 1002),
        ("7.4.1 close code 1004", masked(0x88, &1004u16.to_be_bytes()), 1002),
        ("7.4.2 close code 2999", masked(0x88, &2999u16.to_be_bytes()), 1002),
        ("7.4.2 close code 0", masked(0x88, &0u16.to_be_bytes()), 1002),
        ("8.1 text is not UTF-8", masked(0x81, &[0xff]), 1007),
        ("8.1 UTF-8 cut at the end", masked(0x81, "ä".as_bytes().split_at(1).0), 1007),
        ("8.1 bad UTF-8 over two frames", [masked(0x01, &[0xe2]), masked(0x00, &[0x28])].concat(), 1007),
        ("8.1 close reason is not UTF-8", masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
        ("10.4 message too big", masked(0x81, long.as_bytes()), 1009),
        (
            "10.4 fragments too big together",
            [masked(0x01, &long.as_bytes()[..600]), masked(0x80, &long.as_bytes()[..600])].concat(),
            1009,
        ),
        ("5.2 length of 125 in 16 bits", [&[0x82, 0xfe, 0, 125][..], &[0; 4]].concat(), 1002),
        ("5.2 length of 65535 in 64 bits", [&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &[0; 4]].concat(), 1002),
        ("5.2 length of 2^63", [&[0x82, 0xff, 0x80][..], &[0; 11]].concat(), 1002),
        ("10.4 length of 2^63 - 1", [&[0x82, 0xff, 0x7f][..], &[0xff; 11]].concat(), 1009),
    ];
    for (name, wire, code) in rows {
        assert_eq!(all(wire).map_err(|status| status.code), Err(*code), "{name}");
    }
}

#[test]
fn bad_utf8_is_seen_before_the_frame_ends() {
    let mut wire = masked(0x81, &[b"ok\xff".to_vec(), vec![b'x'; 120]].concat());
    wire.truncate(20);
    assert_eq!(all(&wire).map_err(|status| status.code), Err(1007));
}

#[test]
fn an_idle_decoder_holds_no_buffer() {
    let mut decoder = Decoder::new(100_000);
    let wire = [masked(0x82, &[7; 60_000]), masked(0x89, &[7; 100])].concat();
    let mut input = &wire[..];
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Incoming::Message(_)))));
    assert!(matches!(decoder.decode(&mut input), Ok(Some(Incoming::Ping(_)))));
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(decoder.message.is_none() && decoder.head.capacity() == 0 && decoder.control.capacity() == 0);
}

proptest! {
    /// Any bytes, in any pieces: no panic, and the same result.
    #[test]
    fn the_cut_makes_no_difference(wire in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
        let (left, right) = wire.split_at(cut.min(wire.len()));
        prop_assert_eq!(all(&wire), pieces(&[left, right]));
    }

    #[test]
    fn valid_messages_survive_any_cut(messages in proptest::collection::vec(".{0,40}", 1..8), cut in 1usize..30) {
        let wire: Vec<u8> = messages.iter().flat_map(|message| masked(0x81, message.as_bytes())).collect();
        let cuts: Vec<&[u8]> = wire.chunks(cut).collect();
        let expected: Vec<Incoming> = messages.iter().map(|message| text(message)).collect();
        prop_assert_eq!(pieces(&cuts).unwrap(), expected);
    }
}
