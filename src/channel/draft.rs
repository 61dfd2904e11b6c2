//! A message as its author gives it.

/// The event's name on SSE and push.v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventName<N> {
    /// The server's default.
    #[default]
    Default,
    /// No name, as a browser's `onmessage` needs it.
    Nameless,
    /// This one.
    Given(N),
}

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Valid UTF-8; the publisher has checked it.
    Text,
    /// Bytes: binary frames on a raw WebSocket, elsewhere base64 with `event: push.binary`.
    Binary,
    /// Bytes that are valid UTF-8 and may be meant as text: binary frames on a raw WebSocket, elsewhere text. The
    /// publisher has checked them.
    Utf8Bytes,
    /// An event of the server itself, in JSON. Raw WebSockets do not get it, because they get only messages of the app.
    Server,
}

/// A message as its author gives it.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The channel's name.
    pub channel: &'a str,
    /// The payload; it is copied.
    pub payload: &'a [u8],
    /// What the payload is.
    pub kind: Kind,
    /// The event's name; text only.
    pub event: EventName<&'a str>,
    /// Whether it belongs to the channel's history.
    pub store: bool,
    /// The id of a reader that does not get it.
    pub except: Option<u64>,
    /// Whether it may be compressed for clients with permessage-deflate.
    pub compress: bool,
}

impl<'a> Draft<'a> {
    /// A stored text with the default name, for all readers. `payload` must be valid UTF-8.
    pub fn text(channel: &'a str, payload: &'a [u8]) -> Self {
        Draft {
            channel,
            payload,
            kind: Kind::Text,
            event: EventName::Default,
            store: true,
            except: None,
            compress: true,
        }
    }

    /// Stored bytes, for all readers.
    pub fn binary(channel: &'a str, payload: &'a [u8]) -> Self {
        Draft { kind: Kind::Binary, ..Draft::text(channel, payload) }
    }
}
