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
mod tests;
