//! Cursors: positions in a log. A connection has one cursor for all its channels.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use thiserror::Error;

/// Names one log. Each log has its own epoch, so a number of an older log is never taken for one of a newer log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// An epoch that no other log has had.
    pub fn new() -> Self {
        // Random numbers alone would be the same in all children of a process that has used the generator before it
        // forked. Time alone may be the same in children that were forked together.
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let mixed = (time ^ u64::from(std::process::id()).rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // 48 bits keep ids short. Two logs of one site have the same epoch with a probability of 1 to 2^48.
        Epoch((mixed ^ fastrand::u64(..)) >> 16)
    }
}

impl Default for Epoch {
    fn default() -> Self {
        Epoch::new()
    }
}

impl From<u64> for Epoch {
    /// The epoch of a log that another process numbers.
    fn from(number: u64) -> Self {
        Epoch(number)
    }
}

impl From<Epoch> for u64 {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Everything up to the message `seq` of the log `epoch` has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which log.
    pub epoch: Epoch,
    /// The number of the last message seen. 0 is before the first message.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// The text is not a cursor.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a cursor")]
pub struct Unreadable;

impl FromStr for Cursor {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (epoch, seq) = text.split_once('-').ok_or(Unreadable)?;
        Ok(Cursor { epoch: Epoch(number(epoch, 16)?), seq: number(seq, 10)? })
    }
}

/// As `from_str_radix`, but without a sign.
fn number(text: &str, radix: u32) -> Result<u64, Unreadable> {
    if text.starts_with('+') {
        return Err(Unreadable);
    }
    u64::from_str_radix(text, radix).map_err(|_| Unreadable)
}

/// Where a reader wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    /// With what is published from now on.
    #[default]
    Now,
    /// With what was published after the cursor. If some of that is gone, this is a gap.
    After(Cursor),
    /// The client has sent a cursor that cannot be parsed. This is a gap, because it is unknown what the client has
    /// missed.
    Unreadable,
}

impl Since {
    /// What a client's `Last-Event-ID` means. An empty one means that there is none (WHATWG HTML section 9.2.4).
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Since::Now,
            Some(text) => text.parse().map_or(Since::Unreadable, Since::After),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_cursor() {
        for text in ["7", "-", "a-", "-7", "a--7", "a-+7", "+a-7", "g-7", "a-7 ", "a-7-8", "a-18446744073709551616"] {
            assert_eq!(Since::parse(Some(text)), Since::Unreadable, "{text}");
        }
        assert_eq!(Since::parse(None), Since::Now);
        assert_eq!(Since::parse(Some("")), Since::Now);
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(Epoch::new(), Epoch::new());
        assert!(Epoch::new().to_string().len() <= 12);
    }

    proptest! {
        #[test]
        fn survives_text(epoch: u64, seq: u64) {
            let cursor = Cursor { epoch: Epoch(epoch), seq };
            prop_assert_eq!(Since::parse(Some(&cursor.to_string())), Since::After(cursor));
        }

        #[test]
        fn whatever_a_client_sends(text in ".{0,40}") {
            Since::parse(Some(&text));
        }
    }
}
