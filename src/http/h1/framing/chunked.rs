//! The framing of chunked bodies.

use http::StatusCode;

/// The most a chunk's size line, or all trailers of a message, may take.
pub(super) const MAX_CHUNK_LINE: usize = 4096;

/// RFC 9112 section 7.1, strictly: lenient chunk parsers are how requests are smuggled.
#[derive(Debug)]
enum Chunk {
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
enum TrailerLine {
    Start,
    Inside,
    Lf,
    LastLf,
}

/// A chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    chunk: Chunk,
    /// How many bytes all further chunks may have together.
    room: u64,
}

impl Chunked {
    /// The start of a body that may have `room` bytes.
    pub(super) fn new(room: u64) -> Self {
        Chunked { chunk: Chunk::Size { size: 0, digits: 0 }, room }
    }

    /// Follows the body through `data`. Returns how many bytes belong to it, and whether it ends there. An error is the
    /// status to answer with; nothing after that place can be understood.
    pub(super) fn follow(&mut self, data: &[u8]) -> (usize, Result<bool, StatusCode>) {
        let mut at = 0;
        while at < data.len() {
            match self.step(&data[at..]) {
                Ok((taken, false)) => at += taken,
                Ok((taken, true)) => return (at + taken, Ok(true)),
                Err(status) => return (at, Err(status)),
            }
        }
        (at, Ok(false))
    }

    /// Takes a byte of the framing, or data. Returns how many bytes it took, and whether the body ends there.
    fn step(&mut self, data: &[u8]) -> Result<(usize, bool), StatusCode> {
        if let Chunk::Data(left) = &mut self.chunk {
            let taken = (*left).min(data.len() as u64);
            *left -= taken;
            if *left == 0 {
                self.chunk = Chunk::DataCr;
            }
            return Ok((taken as usize, false));
        }
        let Some(byte) = data.first().copied() else { return Ok((0, false)) };
        self.chunk = match (&self.chunk, byte) {
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
            (Chunk::SizeLf { size }, b'\n') => {
                // A chunk that is too large is refused by its size, before its data come.
                self.room = self.room.checked_sub(*size).ok_or(StatusCode::PAYLOAD_TOO_LARGE)?;
                Chunk::Data(*size)
            }
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::Size { size: 0, digits: 0 },
            (Chunk::Trailer { length, line }, byte) => match trailer(*line, byte)? {
                None => return Ok((1, true)),
                Some(_) if *length >= MAX_CHUNK_LINE => return Err(StatusCode::BAD_REQUEST),
                Some(line) => Chunk::Trailer { length: length + 1, line },
            },
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        Ok((1, false))
    }
}

/// The next state in the trailers; `None` at their end.
fn trailer(line: TrailerLine, byte: u8) -> Result<Option<TrailerLine>, StatusCode> {
    match (line, byte) {
        (TrailerLine::Start, b'\r') => Ok(Some(TrailerLine::LastLf)),
        (TrailerLine::LastLf, b'\n') => Ok(None),
        (TrailerLine::Inside, b'\r') => Ok(Some(TrailerLine::Lf)),
        (TrailerLine::Lf, b'\n') => Ok(Some(TrailerLine::Start)),
        (TrailerLine::Start | TrailerLine::Inside, byte) if byte != b'\n' => Ok(Some(TrailerLine::Inside)),
        _ => Err(StatusCode::BAD_REQUEST),
    }
}
