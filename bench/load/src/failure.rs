//! Why a load has failed.

use std::io;

/// Why a load has failed, in a line for people.
#[derive(Debug)]
pub enum Failure {
    /// The server cannot do this at all: it did not accept an upgrade.
    Unsupported(String),
    /// An answer was wrong or did not come, or a system call failed.
    Broken(String),
}

impl Failure {
    /// What went wrong with a system call.
    pub fn system(doing: &str, error: &io::Error) -> Self {
        Failure::Broken(format!("{doing}: {error}"))
    }
}

/// Compares the bytes that came with the expected ones. The error says where they differ.
pub fn check(what: &str, index: usize, expected: &[u8], got: &[u8]) -> Result<(), Failure> {
    if expected == got { Ok(()) } else { Err(difference(what, index, expected, got)) }
}

#[cold]
fn difference(what: &str, index: usize, expected: &[u8], got: &[u8]) -> Failure {
    let at = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    Failure::Broken(format!(
        "connection {index}: {what} differs from byte {at} on: expected {} bytes, {:?}, but got {} bytes, {:?}",
        expected.len(),
        excerpt(expected),
        got.len(),
        excerpt(got)
    ))
}

/// The beginning of some bytes, as printable text.
pub fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned()
}
