//! The framing of chunked bodies.

/// The most a chunk's size line, or all trailers of a message, may take.
pub(super) const MAX_CHUNK_LINE: usize = 4096;

/// RFC 9112 section 7.1, strictly: lenient chunk parsers are how requests are smuggled.
#[derive(Debug)]
pub(super) enum Chunk {
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u32,
    },
    /// In an extension behind the size, which is ignored.
    Extension {
        size: u64,
        length: usize,
    },
    /// The LF behind a size line's CR.
    SizeLf {
        size: u64,
    },
    Data(u64),
    DataCr,
    DataLf,
    /// In the trailers: how many bytes so far, in a line or at its start.
    Trailer {
        length: usize,
        line: TrailerLine,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum TrailerLine {
    Start,
    Inside,
    Lf,
    LastLf,
}

impl Chunk {
    /// The start of a body.
    pub(super) fn start() -> Self {
        Chunk::Size { size: 0, digits: 0 }
    }
}

/// The framing of a body is broken: nothing behind it can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenBody;

/// Follows a chunked body through `data`; returns how far it goes, and whether it ends there.
pub(super) fn chunked(chunk: &mut Chunk, data: &[u8]) -> Result<(usize, bool), BrokenBody> {
    let mut at = 0;
    while let Some(byte) = data.get(at).copied() {
        if let Chunk::Data(left) = chunk {
            let taken = (*left).min((data.len() - at) as u64);
            *left -= taken;
            at += taken as usize;
            if *left == 0 {
                *chunk = Chunk::DataCr;
            }
            continue;
        }
        at += 1;
        *chunk = match (&*chunk, byte) {
            (Chunk::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && *digits < 16 => {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Chunk::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Chunk::Size { size, digits: 1.. }, b'\r') => Chunk::SizeLf { size: *size },
            (Chunk::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => Chunk::Extension { size: *size, length: 0 },
            (Chunk::Extension { size, .. }, b'\r') => Chunk::SizeLf { size: *size },
            (Chunk::Extension { size, length }, byte) if byte != b'\n' && *length < MAX_CHUNK_LINE => {
                Chunk::Extension { size: *size, length: length + 1 }
            }
            (Chunk::SizeLf { size: 0 }, b'\n') => Chunk::Trailer { length: 0, line: TrailerLine::Start },
            (Chunk::SizeLf { size }, b'\n') => Chunk::Data(*size),
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::Size { size: 0, digits: 0 },
            (Chunk::Trailer { length, line }, byte) => match trailer(*line, byte)? {
                None => return Ok((at, true)),
                Some(_) if *length >= MAX_CHUNK_LINE => return Err(BrokenBody),
                Some(line) => Chunk::Trailer { length: length + 1, line },
            },
            _ => return Err(BrokenBody),
        };
    }
    Ok((at, false))
}

/// The next state in the trailers; `None` at their end.
fn trailer(line: TrailerLine, byte: u8) -> Result<Option<TrailerLine>, BrokenBody> {
    match (line, byte) {
        (TrailerLine::Start, b'\r') => Ok(Some(TrailerLine::LastLf)),
        (TrailerLine::LastLf, b'\n') => Ok(None),
        (TrailerLine::Inside, b'\r') => Ok(Some(TrailerLine::Lf)),
        (TrailerLine::Lf, b'\n') => Ok(Some(TrailerLine::Start)),
        (TrailerLine::Start | TrailerLine::Inside, byte) if byte != b'\n' => Ok(Some(TrailerLine::Inside)),
        _ => Err(BrokenBody),
    }
}
