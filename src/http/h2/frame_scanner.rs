//! The scanner beneath h2, which sees the head of each frame. It counts what costs a client little and the server much, and
//! what h2 does not count: frames that carry nothing, resets, and how long a header block takes.

use std::fmt;
use std::time::{Duration, Instant};

use h2::Reason;

use crate::base::limits::Limits;
use crate::base::stats::Stats;

/// What a client sends first (RFC 9113 section 3.4).
pub(in crate::http) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;

/// The time over which frames are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// So many bytes sent explain one WINDOW_UPDATE. A client sends two for a DATA frame, and a frame may have one event.
const BYTES_PER_UPDATE: u64 = 32;

/// For so many bytes sent, updates may still come. More than a client takes at once.
const MAX_UNANSWERED: u64 = 4 * 1024 * 1024;

// Types of frames, RFC 9113 section 6.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

// Flags. ACK is that of SETTINGS and PING, END_STREAM that of DATA and HEADERS.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// The most padding of a frame, with its length (RFC 9113 section 6.1).
const MAX_PADDING: usize = 256;

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// Too many frames in a second that carry nothing.
    ControlFrames,
    /// Too many resets in a second.
    Resets,
    /// The first frame is another one than SETTINGS.
    NoSettings,
    /// A frame whose type has a fixed length has another one.
    FrameSize,
}

impl Breach {
    /// What the client is told (RFC 9113 section 7).
    pub(super) fn reason(self) -> Reason {
        match self {
            Breach::ControlFrames | Breach::Resets => Reason::ENHANCE_YOUR_CALM,
            Breach::NoSettings => Reason::PROTOCOL_ERROR,
            Breach::FrameSize => Reason::FRAME_SIZE_ERROR,
        }
    }

    pub(super) fn count(self, stats: &Stats) {
        match self {
            Breach::ControlFrames => stats.h2_control_floods.add(),
            Breach::Resets => stats.h2_reset_floods.add(),
            Breach::NoSettings | Breach::FrameSize => stats.h2_protocol_errors.add(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breach::ControlFrames => "too many frames that carry nothing (max_h2_control_frames)",
            Breach::Resets => "too many streams were reset (max_h2_resets)",
            Breach::NoSettings => "the first frame is no SETTINGS frame",
            Breach::FrameSize => "a frame has a length that its type must not have",
        })
    }
}

/// Follows the frames that come in by one connection.
#[derive(Debug)]
pub(super) struct FrameScanner {
    /// Bytes of the preface that have not come.
    preface: usize,
    head: [u8; HEAD],
    /// How many bytes of `head` have come.
    filled: usize,
    /// Bytes of the payload that have not come.
    payload: usize,
    begun: bool,
    /// Since when a header block has come that has not ended.
    header_block: Option<Instant>,
    /// It ends with the frame that is coming.
    block_ends: bool,
    /// When the second began in which is counted.
    second: Instant,
    control_frames: u64,
    resets: u64,
    /// Bytes that were sent, and that no update has answered.
    unanswered: u64,
    max_control_frames: u64,
    max_resets: u64,
    breach: Option<Breach>,
    /// Bytes of DATA frames since that was last asked.
    data: usize,
}

impl FrameScanner {
    /// A scanner at the start of a connection.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        FrameScanner {
            preface: PREFACE.len(),
            head: [0; HEAD],
            filled: 0,
            payload: 0,
            begun: false,
            header_block: None,
            block_ends: false,
            second: now,
            control_frames: 0,
            resets: 0,
            unanswered: 0,
            max_control_frames: limits.max_h2_control_frames as u64,
            max_resets: limits.max_h2_resets as u64,
            breach: None,
            data: 0,
        }
    }

    /// Why the connection must be ended.
    pub(super) fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// Since when a header block has come that has not ended.
    pub(super) fn header_block(&self) -> Option<Instant> {
        self.header_block
    }

    /// Bytes of DATA frames that have come since the last call.
    pub(super) fn take_data(&mut self) -> usize {
        std::mem::take(&mut self.data)
    }

    /// Follows bytes that came in, up to the frame for which the connection must be ended. `sent` is how many bytes were sent
    /// since the last call.
    pub(super) fn scan(&mut self, mut input: &[u8], sent: u64, now: Instant) {
        if now.saturating_duration_since(self.second) >= PERIOD {
            (self.second, self.control_frames, self.resets) = (now, 0, 0);
        }
        // A client that reads slowly answers late.
        self.unanswered = (self.unanswered + sent).min(MAX_UNANSWERED);
        let preface = self.preface.min(input.len());
        self.preface -= preface;
        input = &input[preface..];
        while !input.is_empty() && self.breach.is_none() {
            let payload = self.payload.min(input.len());
            if payload > 0 {
                self.payload -= payload;
                input = &input[payload..];
                self.end_block();
                continue;
            }
            let taken = (HEAD - self.filled).min(input.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&input[..taken]);
            self.filled += taken;
            input = &input[taken..];
            if self.filled == HEAD {
                self.filled = 0;
                self.breach = self.frame(now);
                self.end_block();
            }
        }
    }

    /// A header block ends with the last byte of its last frame, which may come long after that frame's head.
    fn end_block(&mut self) {
        if self.block_ends && self.payload == 0 {
            (self.block_ends, self.header_block) = (false, None);
        }
    }

    /// The head of a frame has come. Returns why the connection must be ended.
    fn frame(&mut self, now: Instant) -> Option<Breach> {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
        if !std::mem::replace(&mut self.begun, true) && (kind != SETTINGS || flags & ACK != 0) {
            return Some(Breach::NoSettings);
        }
        if !has_possible_length(kind, flags, self.payload) {
            return Some(Breach::FrameSize);
        }
        match kind {
            DATA => {
                self.data += self.payload;
                let may_be_empty = self.payload == 0 || flags & PADDED != 0 && self.payload <= MAX_PADDING;
                self.control_frames += u64::from(may_be_empty && flags & END_STREAM == 0);
            }
            HEADERS | CONTINUATION => {
                self.control_frames += u64::from(kind == CONTINUATION);
                self.header_block.get_or_insert(now);
                self.block_ends = flags & END_HEADERS != 0;
            }
            RST_STREAM => self.resets += 1,
            // The answers to our own, of which there are few.
            SETTINGS | PING if flags & ACK != 0 => {}
            WINDOW_UPDATE if self.unanswered >= BYTES_PER_UPDATE => self.unanswered -= BYTES_PER_UPDATE,
            GOAWAY => {}
            // SETTINGS, PING, PRIORITY, WINDOW_UPDATE, and types that are not known.
            _ => self.control_frames += 1,
        }
        if self.control_frames > self.max_control_frames {
            return Some(Breach::ControlFrames);
        }
        (self.resets > self.max_resets).then_some(Breach::Resets)
    }
}

/// h2 ends a connection for these, too, but says PROTOCOL_ERROR. RFC 9113 wants FRAME_SIZE_ERROR: sections 6.3 to 6.9.
fn has_possible_length(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        SETTINGS if flags & ACK != 0 => length == 0,
        SETTINGS => length.is_multiple_of(6),
        PRIORITY => length == 5,
        RST_STREAM | WINDOW_UPDATE => length == 4,
        PING => length == 8,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
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
}
