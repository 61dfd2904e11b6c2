//! HTTP/2 (RFC 9113): as much as a client needs that opens event streams and reads them.

/// Windows as large as Chromium's.
const STREAM_WINDOW: u32 = 6 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 15 * 1024 * 1024;

/// What a connection has before anything else is said (section 6.9.2).
const DEFAULT_WINDOW: u32 = 65_535;

const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u16 = 4;

/// `:status: 200`, as an entry of HPACK's static table.
const STATUS_200: u8 = 0x88;

/// A frame that concerns a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The head of a response with status 200. The number is that of the stream: the first has 0.
    Opened(usize),
    /// Bytes of the response on a stream.
    Data(usize, &'a [u8]),
    /// This must be answered, with these bytes.
    Asks(Vec<u8>),
    /// Nothing to do.
    Other,
}

/// What is sent first: the preface, and the sizes of windows.
pub fn preface() -> Vec<u8> {
    let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &STREAM_WINDOW.to_be_bytes()].concat();
    let settings = frame(SETTINGS, 0, 0, &window);
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings, window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)]
        .concat()
}

/// A request for an event stream, as the stream with this number.
pub fn request(path: &str, number: usize) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "127.0.0.1"),
        (":path", path),
        ("accept", "text/event-stream"),
    ];
    // Literals without indexing (RFC 7541 section 6.2.2). They are short.
    let field = |(name, value): (&str, &str)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    frame(HEADERS, END_STREAM | END_HEADERS, id(number), &fields.map(field).concat())
}

/// The frame that `bytes` begin with, and its length; `None` if its end has not come.
pub fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, String> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let [a, b, c, kind, flags, id @ ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let number = (u32::from_be_bytes(id) as usize).wrapping_sub(1) / 2;
    let frame = match kind {
        DATA if flags == 0 => Frame::Data(number, payload),
        HEADERS if flags == END_HEADERS && payload.first() == Some(&STATUS_200) => Frame::Opened(number),
        SETTINGS if flags == ACK => Frame::Other,
        SETTINGS => Frame::Asks(frame(SETTINGS, ACK, 0, &[])),
        PING => Frame::Asks(frame(PING, ACK, 0, payload)),
        WINDOW_UPDATE => Frame::Other,
        GOAWAY => return Err(format!("the server ends the connection: {payload:?}")),
        _ => return Err(format!("a frame of type {kind} with flags {flags}, of {length} bytes, on stream {number}")),
    };
    Ok(Some((frame, HEAD + length)))
}

/// Bytes of a stream, or of a connection, for which the server has no window until it is told that they were read.
#[derive(Debug, Default)]
pub struct Unreported(u32);

impl Unreported {
    /// More was read. Gives what is to be sent, if it is time: when half of the window is used.
    pub fn read(&mut self, bytes: usize, stream: Option<usize>) -> Option<Vec<u8>> {
        self.0 += bytes as u32;
        let window = if stream.is_some() { STREAM_WINDOW } else { CONNECTION_WINDOW };
        (self.0 >= window / 2).then(|| window_update(stream.map_or(0, id), std::mem::take(&mut self.0)))
    }
}

fn id(number: usize) -> u32 {
    2 * number as u32 + 1
}

fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_frame_only_when_it_is_whole() {
        let data = frame(DATA, 0, 5, b"data: one\n\n");
        for end in 0..data.len() {
            assert_eq!(next(&data[..end]), Ok(None), "{end}");
        }
        assert_eq!(next(&data), Ok(Some((Frame::Data(2, b"data: one\n\n"), data.len()))));
    }

    #[test]
    fn answers_what_must_be_answered() {
        let ack = Frame::Asks(frame(SETTINGS, ACK, 0, &[]));
        assert_eq!(next(&frame(SETTINGS, 0, 0, &[0; 6])), Ok(Some((ack, HEAD + 6))));
        assert_eq!(next(&frame(SETTINGS, ACK, 0, &[])), Ok(Some((Frame::Other, HEAD))));
        let pong = Frame::Asks(frame(PING, ACK, 0, b"12345678"));
        assert_eq!(next(&frame(PING, 0, 0, b"12345678")), Ok(Some((pong, HEAD + 8))));
    }

    #[test]
    fn takes_no_other_status_and_no_end() {
        assert_eq!(next(&frame(HEADERS, END_HEADERS, 1, &[STATUS_200])), Ok(Some((Frame::Opened(0), HEAD + 1))));
        assert!(next(&frame(HEADERS, END_HEADERS, 1, &[0x8d])).is_err());
        assert!(next(&frame(DATA, END_STREAM, 1, &[])).is_err());
        assert!(next(&frame(GOAWAY, 0, 0, &[0; 8])).is_err());
    }

    #[test]
    fn reports_what_was_read_when_half_a_window_is_used() {
        let mut unreported = Unreported::default();
        let half = STREAM_WINDOW as usize / 2;
        assert_eq!(unreported.read(half - 1, Some(0)), None);
        assert_eq!(unreported.read(1, Some(0)), Some(window_update(1, half as u32)));
        assert_eq!(unreported.read(1, Some(0)), None);
    }
}
