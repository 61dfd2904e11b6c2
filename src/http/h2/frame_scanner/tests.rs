//! What the scanner makes of frames, however they are cut.

use super::*;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn limits() -> Limits {
    Limits { max_h2_control_frames: 10, max_h2_resets: 10, ..Limits::default() }
}

/// What the scanner says of a connection that begins as it should and then has these bytes.
fn scanned(bytes: &[u8], sent: u64) -> FrameScanner {
    let now = Instant::now();
    let mut scanner = FrameScanner::new(&limits(), now);
    scanner.scan(PREFACE, 0, now);
    scanner.scan(&frame(SETTINGS, 0, &[]), 0, now);
    scanner.scan(bytes, sent, now);
    scanner
}

fn breach(kind: u8, flags: u8, payload: &[u8], count: usize) -> Option<Breach> {
    scanned(&frame(kind, flags, payload).repeat(count), 0).breach()
}

#[test]
fn frames_that_carry_nothing_are_counted() {
    let ping = [0; 8];
    let rows: [(u8, u8, &[u8]); 8] = [
        (PING, 0, &ping),
        (SETTINGS, 0, &[]),
        (DATA, 0, &[]),
        (DATA, PADDED, &[1, 0]),
        (WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        (CONTINUATION, 0, b"x"),
        (PRIORITY, 0, &[0; 5]),
        (0xfe, 0, b"unknown"),
    ];
    for (kind, flags, payload) in rows {
        assert_eq!(breach(kind, flags, payload, 9), None, "{kind}");
        assert_eq!(breach(kind, flags, payload, 11), Some(Breach::ControlFrames), "{kind}");
    }
    assert_eq!(breach(RST_STREAM, 0, &[0; 4], 10), None);
    assert_eq!(breach(RST_STREAM, 0, &[0; 4], 11), Some(Breach::Resets));
}

#[test]
fn frames_that_carry_something_are_not_counted() {
    for (kind, flags, payload) in
        [(DATA, 0, &b"x"[..]), (DATA, END_STREAM, b""), (HEADERS, END_HEADERS, b"x"), (PING, ACK, &[0; 8])]
    {
        assert_eq!(breach(kind, flags, payload, 1000), None, "{kind}");
    }
}

#[test]
fn what_was_sent_explains_updates() {
    let updates = frame(WINDOW_UPDATE, 0, &[0; 4]).repeat(1000);
    assert_eq!(scanned(&updates, 1000 * BYTES_PER_UPDATE).breach(), None);
    assert_eq!(scanned(&updates, 900 * BYTES_PER_UPDATE).breach(), Some(Breach::ControlFrames));
    // They may come later, one by one.
    let now = Instant::now();
    let mut scanner = scanned(&[], 1000 * BYTES_PER_UPDATE);
    updates.chunks(13).for_each(|update| scanner.scan(update, 0, now));
    assert_eq!(scanner.breach(), None);
}

#[test]
fn the_count_begins_anew_each_second() {
    let now = Instant::now();
    let mut scanner = scanned(&frame(PING, 0, &[0; 8]).repeat(9), 0);
    scanner.scan(&frame(PING, 0, &[0; 8]).repeat(10), 0, now + 2 * PERIOD);
    assert_eq!(scanner.breach(), None);
}

#[test]
fn a_connection_begins_with_settings() {
    for first in [frame(PING, 0, &[0; 8]), frame(SETTINGS, ACK, &[]), frame(HEADERS, END_HEADERS, b"x")] {
        let now = Instant::now();
        let mut scanner = FrameScanner::new(&limits(), now);
        scanner.scan(&[PREFACE, &first].concat(), 0, now);
        assert_eq!(scanner.breach(), Some(Breach::NoSettings));
    }
}

#[test]
fn frames_of_a_fixed_length_have_it() {
    let rows: [(u8, u8, usize); 6] = [
        (SETTINGS, 0, 12),
        (SETTINGS, ACK, 0),
        (PRIORITY, 0, 5),
        (RST_STREAM, 0, 4),
        (WINDOW_UPDATE, 0, 4),
        (PING, 0, 8),
    ];
    for (kind, flags, length) in rows {
        for (length, expected) in [(length, None), (length + 1, Some(Breach::FrameSize))] {
            assert_eq!(breach(kind, flags, &vec![0; length], 1), expected, "{kind}");
        }
    }
}

#[test]
fn a_header_block_lasts_until_its_last_frame() {
    let begun = frame(HEADERS, 0, b"x");
    assert!(scanned(&begun, 0).header_block().is_some());
    assert!(scanned(&[begun.clone(), frame(CONTINUATION, 0, b"x")].concat(), 0).header_block().is_some());
    let whole = [begun, frame(CONTINUATION, END_HEADERS, b"x")].concat();
    assert!(scanned(&whole, 0).header_block().is_none());
    assert!(scanned(&whole[..whole.len() - 1], 0).header_block().is_some());
    // Also if it has only one frame.
    let only = frame(HEADERS, END_HEADERS, b"xy");
    for length in HEAD..only.len() {
        assert!(scanned(&only[..length], 0).header_block().is_some(), "{length}");
    }
    assert!(scanned(&only, 0).header_block().is_none());
    assert!(scanned(&frame(HEADERS, END_HEADERS, b""), 0).header_block().is_none());
}

/// A frame of a type and with flags, that has one of the lengths that matter, and says that it has another one.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0u8..12, any::<u8>()];
    let flags = prop_oneof![Just(0), Just(ACK), Just(END_HEADERS), Just(END_STREAM | END_HEADERS), any::<u8>()];
    let length = prop_oneof![0usize..20, 250usize..260, 0usize..20_000];
    // Most have what their type must have: a wrong length is the end.
    (kind, flags, length, 0..20).prop_map(|(kind, flags, length, wrong)| {
        let length = match kind {
            _ if wrong == 0 || has_possible_length(kind, flags, length) => length,
            SETTINGS => 0,
            PRIORITY => 5,
            PING => 8,
            _ => 4,
        };
        frame(kind, flags, &vec![0x55; length])
    })
}

/// What the scanner must say, as it would be said of frames in a list.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    control_frames: u64,
    resets: u64,
    data: usize,
    in_header_block: bool,
    /// Bytes that belong to the next frame, or are missing from the last one.
    begun: usize,
    missing: usize,
    breach: Option<Breach>,
}

/// What a list of frames has; the simplest way to say it.
fn model(mut bytes: &[u8], mut sent: u64) -> Seen {
    let mut seen = Seen::default();
    while bytes.len() >= HEAD && seen.breach.is_none() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let (kind, flags) = (bytes[3], bytes[4]);
        let come = length.min(bytes.len() - HEAD);
        bytes = &bytes[HEAD + come..];
        seen.missing = length - come;
        let has_length = match (kind, flags & 1) {
            (4, 1) => length == 0,
            (4, 0) => length.is_multiple_of(6),
            (2, _) => length == 5,
            (3 | 8, _) => length == 4,
            (6, _) => length == 8,
            _ => true,
        };
        if !has_length {
            seen.breach = Some(Breach::FrameSize);
            break;
        }
        match kind {
            0 => {
                seen.data += length;
                let padding = length == 0 || flags & 8 == 8 && length <= 256;
                seen.control_frames += u64::from(padding && flags & 1 == 0);
            }
            1 | 9 => {
                seen.control_frames += u64::from(kind == 9);
                seen.in_header_block = flags & 4 == 0 || seen.missing > 0;
            }
            3 => seen.resets += 1,
            4 | 6 if flags & 1 == 1 => {}
            7 => {}
            8 if sent >= BYTES_PER_UPDATE => sent -= BYTES_PER_UPDATE,
            _ => seen.control_frames += 1,
        }
        let limits = limits();
        if seen.control_frames > limits.max_h2_control_frames as u64 {
            seen.breach = Some(Breach::ControlFrames);
        } else if seen.resets > limits.max_h2_resets as u64 {
            seen.breach = Some(Breach::Resets);
        }
    }
    seen.begun = if seen.breach.is_none() { bytes.len() } else { 0 };
    seen
}

/// What the scanner says. The count of what is missing is not kept up behind a breach, since nothing is read any more.
fn seen(mut scanner: FrameScanner) -> Seen {
    Seen {
        control_frames: scanner.control_frames,
        resets: scanner.resets,
        data: scanner.take_data(),
        in_header_block: scanner.header_block().is_some(),
        begun: scanner.filled,
        missing: scanner.payload,
        breach: scanner.breach(),
    }
}

fn expect_as_the_model_says(scanner: FrameScanner, bytes: &[u8], sent: u64) -> Result<(), TestCaseError> {
    let (mut is, mut expected) = (seen(scanner), model(bytes, sent));
    if expected.breach.is_some() {
        for it in [&mut is, &mut expected] {
            (it.missing, it.in_header_block) = (0, false);
        }
    }
    prop_assert_eq!(is, expected);
    Ok(())
}

/// A scanner behind the beginning of a connection, which the model does not know, that has sent so many bytes.
fn begun(sent: u64) -> FrameScanner {
    let mut scanner = scanned(&[], sent);
    scanner.control_frames = 0;
    scanner
}

proptest! {
    /// However the bytes are cut, the scanner sees what is in them.
    #[test]
    fn frames_are_counted_as_a_model_does(
        frames in proptest::collection::vec(any_frame(), 0..30),
        lengths in proptest::collection::vec(1usize..400, 1..40),
        sent in 0u64..1000,
    ) {
        let bytes = frames.concat();
        let mut scanner = begun(sent);
        let (mut rest, mut lengths) = (&bytes[..], lengths.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(lengths.next().map_or(1, |length| (*length).min(rest.len())));
            scanner.scan(piece, 0, scanner.second);
            rest = more;
        }
        expect_as_the_model_says(scanner, &bytes, sent)?;
    }

    /// Two pieces, cut at each byte; and what has come up to there.
    #[test]
    fn each_cut_gives_the_same(frames in proptest::collection::vec(any_frame(), 0..4), sent in 0u64..100) {
        let mut bytes = frames.concat();
        bytes.truncate(600);
        for cut in 0..=bytes.len() {
            let mut scanner = begun(sent);
            scanner.scan(&bytes[..cut], 0, scanner.second);
            scanner.scan(&bytes[cut..], 0, scanner.second);
            expect_as_the_model_says(scanner, &bytes, sent)?;
        }
    }

    /// Any bytes at all: no panic, and no more is counted than has come.
    #[test]
    fn any_bytes_can_come(bytes: Vec<u8>, cut in 1usize..40) {
        let now = Instant::now();
        let mut scanner = FrameScanner::new(&limits(), now);
        bytes.chunks(cut).for_each(|piece| scanner.scan(piece, 0, now));
        let frames = (bytes.len().saturating_sub(PREFACE.len()) / HEAD) as u64;
        prop_assert!(scanner.control_frames + scanner.resets <= frames);
    }
}
