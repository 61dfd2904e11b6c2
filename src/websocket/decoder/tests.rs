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

/// The decoder of a client with permessage-deflate.
fn inflating(keeps_window: bool) -> Decoder {
    Decoder::new(1000).inflating(Inflater::new(keeps_window))
}

fn inflated(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<Vec<Incoming>, CloseStatus> {
    let mut seen = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.decode(&mut input)? {
                Some(incoming) => seen.push(incoming),
                None if input.is_empty() => break,
                None => decoder.begin_turn(),
            }
        }
    }
    Ok(seen)
}

/// RFC 7692 section 7.2.3: the examples.
#[test]
fn the_examples_of_the_rfc() {
    const ONE: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    const AGAIN: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];
    const STORED: &[u8] = &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    const LAST_BLOCK: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    const TWO_BLOCKS: &[u8] = &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let (hello, nothing) = (|| text("Hello"), || text(""));
    let rows: [(&str, Vec<u8>, Vec<Incoming>); 9] = [
        ("7.2.3.1 one block", masked(0xC1, ONE), vec![hello()]),
        (
            "7.2.3.1 fragments",
            [masked(0x41, &ONE[..3]), masked(0x89, b"?"), masked(0x80, &ONE[3..])].concat(),
            vec![Incoming::Ping(Bytes::from_static(b"?")), hello()],
        ),
        ("7.2.3.2 a window", [masked(0xC1, ONE), masked(0xC1, AGAIN)].concat(), vec![hello(), hello()]),
        ("7.2.3.3 a stored block", masked(0xC1, STORED), vec![hello()]),
        ("7.2.3.4 a last block", [masked(0xC1, LAST_BLOCK), masked(0xC1, ONE)].concat(), vec![hello(), hello()]),
        ("7.2.3.5 two blocks", masked(0xC1, TWO_BLOCKS), vec![hello()]),
        ("7.2.3.6 an empty message", [masked(0xC1, &[0]), masked(0xC1, ONE)].concat(), vec![nothing(), hello()]),
        ("no byte at all", [masked(0xC1, &[]), masked(0xC1, ONE)].concat(), vec![nothing(), hello()]),
        (
            "compressed or not",
            [masked(0xC1, ONE), masked(0x81, b"Hello"), masked(0xC1, AGAIN)].concat(),
            vec![hello(), hello(), hello()],
        ),
    ];
    for (name, wire, expected) in rows {
        for cut in [1, 3, wire.len()] {
            let pieces: Vec<_> = wire.chunks(cut).collect();
            assert_eq!(inflated(&mut inflating(true), &pieces).unwrap(), expected, "{name}");
        }
    }
    // Without a window, a message cannot refer to the one before.
    let wire = [masked(0xC1, ONE), masked(0xC1, AGAIN)].concat();
    assert_eq!(inflated(&mut inflating(false), &[&wire]).map_err(|status| status.code), Err(1007));
}

#[test]
fn refusals_with_compression() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    // 1001 bytes, in a few.
    let long = deflated(&[b'x'; 1001]);
    let rows: &[(&str, Vec<u8>, u16)] = &[
        ("RFC 7692 6.1: RSV1 in a continuation", [masked(0x41, &hello[..3]), masked(0xC0, &hello[3..])].concat(), 1002),
        (
            "RFC 7692 6.1: RSV1 in a continuation of a message as it is",
            [masked(0x01, b"a"), masked(0xC0, b"b")].concat(),
            1002,
        ),
        ("RFC 7692 6.1: RSV1 in a ping", masked(0xC9, b"a"), 1002),
        ("RFC 7692 6.1: RSV1 in a Close frame", masked(0xC8, b""), 1002),
        ("RSV2", masked(0xA1, &hello), 1002),
        ("RSV1 and RSV3", masked(0xD1, &hello), 1002),
        ("not deflated data", masked(0xC1, &[0xff; 20]), 1007),
        ("a reference before the beginning", masked(0xC1, &[0xf2, 0x00, 0x11, 0x00, 0x00]), 1007),
        ("bad UTF-8", masked(0xC1, &deflated(b"\xff\xfe")), 1007),
        ("UTF-8 cut at the end", masked(0xC1, &deflated("ä".as_bytes().split_at(1).0)), 1007),
        ("too long", masked(0xC2, &long), 1009),
        ("too long in fragments", [masked(0x42, &long[..4]), masked(0x80, &long[4..])].concat(), 1009),
    ];
    for (name, wire, code) in rows {
        for keeps_window in [true, false] {
            let seen = inflated(&mut inflating(keeps_window), &[wire]);
            assert_eq!(seen.map_err(|status| status.code), Err(*code), "{name}");
        }
    }
    assert!(inflated(&mut inflating(true), &[&masked(0xC2, &deflated(&[b'x'; 1000]))]).is_ok());
}

/// The payload of a compressed message.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + 100];
    let mut deflate = zlib_rs::Deflate::new(6, false, 15);
    deflate.compress(payload, &mut out, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    out.truncate(deflate.total_out() as usize - 4);
    out
}

#[test]
fn a_bomb_takes_no_more_memory_than_a_message_may() {
    let bomb = deflated(&vec![0; 50_000_000]);
    let mut decoder = Decoder::new(100_000).inflating(Inflater::new(true));
    let wire = masked(0xC2, &bomb);
    let mut input = &wire[..];
    assert_eq!(decoder.decode(&mut input).map_err(|status| status.code), Err(1009));
    assert!(decoder.message.is_some_and(|message| message.payload.capacity() <= 300_000));
    assert!(wire.len() - input.len() < 2000, "it was inflated further");
}

#[test]
fn much_work_is_done_in_several_turns() {
    // A million bytes each, in a thousand.
    let part = deflated(&vec![0; 900_000]);
    let wire = masked(0xC2, &part).repeat(3);
    let mut decoder = Decoder::new(1_000_000).inflating(Inflater::new(false));
    let (mut input, mut turns, mut messages) = (&wire[..], 1, 0);
    while !input.is_empty() {
        match decoder.decode(&mut input).unwrap() {
            Some(_) => messages += 1,
            None => {
                turns += 1;
                decoder.begin_turn();
            }
        }
    }
    assert_eq!((turns, messages), (2, 3));
    let inflated = decoder.take_inflated().unwrap();
    assert_eq!(inflated, Inflated { messages: 3, before: 3 * part.len() as u64, after: 2_700_000 });
    assert_eq!(decoder.take_inflated(), None);
}

#[test]
fn a_client_without_a_window_holds_no_inflater_between_messages() {
    for keeps_window in [true, false] {
        let mut decoder = inflating(keeps_window);
        let wire = masked(0xC2, &deflated(&[7; 500]));
        assert!(decoder.inflating.as_ref().is_some_and(|inflating| inflating.inflater.is_idle()));
        inflated(&mut decoder, &[&wire]).unwrap();
        assert_eq!(decoder.inflating.unwrap().inflater.is_idle(), !keeps_window);
    }
}

proptest! {
    /// Any bytes behind a header that says that they are compressed: no panic, no more than a message may have, and the same
    /// result in any pieces.
    #[test]
    fn any_compressed_bytes_can_come(
        payload in proptest::collection::vec(any::<u8>(), 0..120), cut in 1usize..40, keeps_window: bool, whole in 0usize..120,
    ) {
        // A real beginning leads deeper into the format.
        let mut payload = payload;
        let real = deflated(&b"Hello! "[..].repeat(20));
        payload.splice(..0, real[..whole.min(real.len())].iter().copied());
        let wire = [masked(0xC2, &payload), masked(0xC1, &payload)].concat();
        let at_once = inflated(&mut inflating(keeps_window), &[&wire]);
        let pieces: Vec<_> = wire.chunks(cut).collect();
        prop_assert_eq!(&at_once, &inflated(&mut inflating(keeps_window), &pieces));
        for incoming in at_once.unwrap_or_default() {
            if let Incoming::Message(message) = incoming {
                prop_assert!(message.len() <= 1000);
            }
        }
    }

    #[test]
    fn compressed_messages_survive_any_cut(
        messages in proptest::collection::vec("[a-c]{0,60}", 1..8), cut in 1usize..30, keeps_window: bool,
    ) {
        let wire: Vec<u8> = messages.iter().flat_map(|message| masked(0xC1, &deflated(message.as_bytes()))).collect();
        let cuts: Vec<&[u8]> = wire.chunks(cut).collect();
        let expected: Vec<Incoming> = messages.iter().map(|message| text(message)).collect();
        prop_assert_eq!(inflated(&mut inflating(keeps_window), &cuts).unwrap(), expected);
    }

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
