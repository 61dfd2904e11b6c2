//! Messages that the server sends compressed: RFC 7692 sections 6.1 and 7.2.1.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use zlib_rs::{Deflate, DeflateFlush, Status};

use super::{TAIL, WindowBits};
use crate::websocket::Opcode;
use crate::websocket::frame::fragments;

/// The usual compromise of zlib. A message is compressed once for all clients.
const LEVEL: i32 = 6;

/// A longer buffer does not stay with a thread.
const MAX_BUFFER: usize = 256 * 1024;

/// RSV1 of a message's first frame: section 6.
const COMPRESSED: u8 = 0x40;

/// What a thread keeps for the next message. A compressor has about 300 KiB.
#[derive(Default)]
struct Compressors {
    usual: Option<Deflate>,
    /// The last one with another window.
    other: Option<(WindowBits, Deflate)>,
    buffer: Vec<u8>,
}

thread_local! {
    /// Each thread has its own, so that a fork finds none in use by another thread.
    static COMPRESSORS: RefCell<Compressors> = RefCell::default();
}

/// Compresses a message. Returns all its frames, one behind the other, as [`fragments`] does. `None` if that saves less
/// than a tenth: then the message is better sent as it is.
pub fn compress(opcode: Opcode, payload: &[u8], window: WindowBits) -> Option<Bytes> {
    COMPRESSORS.with_borrow_mut(|own| {
        let Compressors { usual, other, buffer } = own;
        let compressor = match window.for_length(payload.len()) {
            WindowBits::MOST => usual.get_or_insert_with(|| new_compressor(WindowBits::MOST)),
            window => {
                let kept = other.take_if(|(bits, _)| *bits == window);
                &mut other.insert(kept.unwrap_or_else(|| (window, new_compressor(window)))).1
            }
        };
        let room = bound(payload.len());
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let status = compressor.compress(payload, &mut buffer[..room], DeflateFlush::SyncFlush);
        let (taken, length) = (compressor.total_in(), compressor.total_out() as usize);
        compressor.reset();
        // A flush is complete only if it leaves room in the buffer.
        if status != Ok(Status::Ok) || taken != payload.len() as u64 || length >= room {
            // After a reset, zlib-rs lacks the room that the rest of the output took.
            (*usual, *other) = (None, None);
            return None;
        }
        let worth = length <= payload.len() - payload.len() / 10;
        let compressed = if worth { buffer[..length].strip_suffix(&TAIL) } else { None };
        let frames = compressed.map(|compressed| mark(fragments(opcode, compressed)));
        if buffer.len() > MAX_BUFFER {
            *buffer = Vec::new();
        }
        frames
    })
}

/// More than a message with `length` bytes becomes, whatever is in it: zlib's deflateBound, and an empty block.
fn bound(length: usize) -> usize {
    length + length.div_ceil(8) + length.div_ceil(64) + 64
}

fn new_compressor(window: WindowBits) -> Deflate {
    Deflate::new(LEVEL, false, window.bits())
}

/// Says that the message is compressed.
fn mark(frames: Bytes) -> Bytes {
    with_first_byte(frames, |first| first | COMPRESSED)
}

/// The same message with another opcode.
pub fn with_opcode(frames: &Bytes, opcode: Opcode) -> Bytes {
    with_first_byte(Bytes::copy_from_slice(frames), |first| (first & 0xF0) | opcode as u8)
}

fn with_first_byte(frames: Bytes, change: impl FnOnce(u8) -> u8) -> Bytes {
    // Nobody else has the bytes, so this copies none.
    let mut frames = BytesMut::from(frames);
    if let Some(first) = frames.first_mut() {
        *first = change(*first);
    }
    frames.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::deflate::Inflater;
    use crate::websocket::frame::{FRAGMENT_SIZE, each_frame};
    use proptest::prelude::*;

    fn window(bits: u8) -> WindowBits {
        WindowBits::new(bits).unwrap()
    }

    /// The payload that a client gets.
    fn read(frames: &Bytes) -> Vec<u8> {
        let mut payload = Vec::new();
        each_frame(frames, &mut |frame| {
            let header = match frame[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            payload.extend_from_slice(&frame[header..]);
        });
        let (mut inflater, mut out) = (Inflater::new(false), BytesMut::new());
        inflater.inflate(&payload, &mut out, usize::MAX).unwrap();
        inflater.finish(&mut out, usize::MAX).unwrap();
        out.to_vec()
    }

    /// Text that repeats itself after `period` bytes.
    fn repeating(period: usize, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let part: Vec<u8> = (0..period).map(|_| random.u8(..)).collect();
        part.iter().copied().cycle().take(length).collect()
    }

    #[test]
    fn a_message_in_one_frame() {
        let text = br#"{"a":1}"#.repeat(100);
        let frames = compress(Opcode::Text, &text, WindowBits::MOST).unwrap();
        assert_eq!(frames[0], 0xC1);
        assert!(frames.len() < 50);
        assert_eq!(read(&frames), text);
        let binary = with_opcode(&frames, Opcode::Binary);
        assert_eq!((binary[0], &binary[1..]), (0xC2, &frames[1..]));
    }

    #[test]
    fn a_long_message_is_compressed_as_a_whole_and_then_cut() {
        // Half of it is random.
        let mut random = fastrand::Rng::with_seed(7);
        let payload: Vec<u8> = (0..600_000).map(|at| if at % 2 == 0 { random.u8(..) } else { 0 }).collect();
        let frames = compress(Opcode::Binary, &payload, WindowBits::MOST).unwrap();
        assert!(frames.len() > 2 * FRAGMENT_SIZE);
        let mut heads = Vec::new();
        each_frame(&frames, &mut |frame| heads.push(frame[0]));
        assert_eq!((heads[0], heads[1], heads.last()), (0x42, 0x00, Some(&0x80)));
        assert_eq!(read(&frames), payload);
    }

    #[test]
    fn what_does_not_become_shorter_is_not_compressed() {
        for length in [0, 1, 9, 10, 600, 100_000] {
            assert_eq!(compress(Opcode::Binary, &repeating(length, length), WindowBits::MOST), None, "{length}");
        }
        // After that, the compressor still works.
        assert!(compress(Opcode::Binary, &[7; 600], WindowBits::MOST).is_some());
    }

    #[test]
    fn a_compressor_works_after_many_messages_that_do_not_become_short_enough() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..500 {
            // Some become shorter by less than a tenth, some longer.
            let values = [220, 256][round % 2];
            let payload: Vec<u8> = (0..4096).map(|_| (random.u16(..values)) as u8).collect();
            assert_eq!(compress(Opcode::Binary, &payload, WindowBits::MOST), None, "{round}");
        }
        let payload = repeating(3000, 8000);
        assert_eq!(read(&compress(Opcode::Binary, &payload, WindowBits::MOST).unwrap()), payload);
    }

    #[test]
    fn a_message_refers_back_no_further_than_the_window() {
        for bits in 9..=15 {
            let size = 1 << bits;
            // What repeats within the window is found, and what repeats beyond it is not. (zlib looks back by 262 bytes less.)
            let within = compress(Opcode::Binary, &repeating(size / 4, 4 * size), window(bits));
            assert!(within.is_some_and(|frames| frames.len() < 2 * size), "{bits}");
            assert_eq!(compress(Opcode::Binary, &repeating(size + 1, 4 * size), window(bits)), None, "{bits}");
        }
    }

    #[test]
    fn a_short_message_is_the_same_for_all_windows() {
        let text = repeating(500, 1024);
        let frames = compress(Opcode::Text, &text, WindowBits::MOST);
        assert!(frames.is_some());
        for bits in 10..=15 {
            assert_eq!(compress(Opcode::Text, &text, window(bits)), frames, "{bits}");
        }
        assert_ne!(compress(Opcode::Text, &text, window(9)), frames);
    }

    /// A case takes milliseconds, so not even `rake properties` has more of them.
    fn few() -> ProptestConfig {
        let usual = ProptestConfig::default();
        ProptestConfig { cases: usual.cases.min(1000), ..usual }
    }

    proptest! {
        #![proptest_config(few())]

        #[test]
        fn what_is_compressed_can_be_read(
            parts in proptest::collection::vec((0usize..4000, 1usize..4000), 0..20), bits in 9u8..=15,
        ) {
            let payload: Vec<u8> = parts.iter().flat_map(|(length, period)| repeating(*period, *length)).collect();
            if let Some(frames) = compress(Opcode::Binary, &payload, window(bits)) {
                prop_assert!(frames.len() < payload.len());
                prop_assert_eq!(read(&frames), payload);
            }
        }

        #[test]
        fn what_is_compressed_always_has_room(values in 1u16..=256, length in 0usize..10_000, seed in any::<u64>()) {
            let mut random = fastrand::Rng::with_seed(seed);
            let payload: Vec<u8> = (0..length).map(|_| random.u16(..values) as u8).collect();
            let mut out = vec![0; bound(length)];
            let mut compressor = new_compressor(WindowBits::MOST);
            compressor.compress(&payload, &mut out, DeflateFlush::SyncFlush).unwrap();
            prop_assert_eq!(compressor.total_in(), length as u64);
            prop_assert!(compressor.total_out() < bound(length) as u64);
        }
    }
}
