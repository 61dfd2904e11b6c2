//! Compressed messages, RFC 7692.

use zlib_rs::{Inflate, InflateFlush};

/// Inflates messages that stand for themselves. It remembers the last one, since all listeners get the same bytes.
#[derive(Default)]
pub struct Inflater {
    state: Option<Inflate>,
    compressed: Vec<u8>,
    plain: Vec<u8>,
}

/// The most bytes of a message.
const MOST: usize = 64 * 1024;

impl Inflater {
    /// One without memory.
    pub fn new() -> Self {
        Inflater::default()
    }

    /// What a message holds.
    pub fn inflate(&mut self, payload: &[u8]) -> Result<&[u8], String> {
        if self.compressed != payload {
            self.compressed.clear();
            self.compressed.extend_from_slice(payload);
            self.plain.resize(MOST, 0);
            let state = self.state.get_or_insert_with(|| Inflate::new(false, 15));
            state.reset(false);
            // Section 7.2.2.
            for input in [payload, &[0, 0, 0xff, 0xff]] {
                let room = &mut self.plain[state.total_out() as usize..];
                let inflated = state.decompress(input, room, InflateFlush::SyncFlush);
                inflated.map_err(|error| format!("a compressed message that is broken: {}", error.as_str()))?;
            }
            let length = state.total_out() as usize;
            self.plain.truncate(length);
        }
        Ok(&self.plain)
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 7.2.3.1.
    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    #[test]
    fn inflates_each_message_by_itself() {
        let mut inflater = Inflater::new();
        for _ in 0..2 {
            assert_eq!(inflater.inflate(&HELLO), Ok(&b"Hello"[..]));
        }
        assert_eq!(inflater.inflate(&[0]), Ok(&b""[..]));
        assert!(inflater.inflate(&[0xff; 20]).is_err());
        assert_eq!(inflater.inflate(&HELLO), Ok(&b"Hello"[..]));
    }
}
