//! What was published: one copy for all readers, encoded at most once per form.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::block::{Block, Content, Form, Wire};
use super::{Error, Limits};
use crate::sse;
use crate::websocket::frame::{self, FRAGMENT_SIZE, Opcode};

/// The event's name on SSE and push.v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventName<N> {
    /// The server's default.
    #[default]
    Default,
    /// None: a browser's `onmessage`.
    Nameless,
    /// This one.
    Given(N),
}

/// What the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Valid UTF-8; whoever publishes has checked it.
    Text,
    /// Bytes: binary frames on a raw WebSocket, elsewhere base64 with `event: push.binary`.
    Binary,
    /// Bytes that are valid UTF-8 and may be meant as text: binary frames on a raw WebSocket, elsewhere text. The publisher
    /// has checked them.
    Utf8Bytes,
    /// The server's own event, JSON. Raw WebSockets are not told: there, only the app speaks.
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
}

impl<'a> Draft<'a> {
    /// A text with the default name, for everybody, stored. `payload` must be valid UTF-8.
    pub fn text(channel: &'a str, payload: &'a [u8]) -> Self {
        Draft { channel, payload, kind: Kind::Text, event: EventName::Default, store: true, except: None }
    }

    /// Bytes, for everybody, stored.
    pub fn binary(channel: &'a str, payload: &'a [u8]) -> Self {
        Draft { kind: Kind::Binary, ..Draft::text(channel, payload) }
    }
}

/// A published message. Shared by the log, its readers and whoever else asked for it.
#[derive(Debug)]
pub struct Message {
    /// Written once, by the engine, before anybody else has the message; so it needs no order of
    /// its own.
    seq: AtomicU64,
    channel: Arc<str>,
    event: EventName<Box<str>>,
    kind: Kind,
    stored: bool,
    except: Option<u64>,
    published: Instant,
    cost: usize,
    /// The payload, with the header of its WebSocket frame before it if one frame can hold it:
    /// the payload is copied anyway, and so a raw WebSocket costs no second copy.
    frame: Bytes,
    header: u8,
    block: OnceLock<Block>,
    fragments: OnceLock<Bytes>,
}

impl Message {
    /// Copies a draft into a message that has no number yet; `now` is when its ttl begins.
    pub fn new(draft: &Draft<'_>, limits: &Limits, now: Instant) -> Result<Arc<Self>, Error> {
        limits.check_name(draft.channel)?;
        let event = match draft.event {
            EventName::Given(name) if name.contains(['\r', '\n', '\0']) => return Err(Error::BrokenEvent),
            EventName::Given(name) => EventName::Given(name.into()),
            EventName::Nameless => EventName::Nameless,
            EventName::Default => EventName::Default,
        };
        let length = draft.payload.len();
        let mut frame = Vec::with_capacity(length + 10);
        if length <= FRAGMENT_SIZE {
            frame::put_header(&mut frame, true, opcode(draft.kind), length);
        }
        let header = frame.len() as u8;
        frame.extend_from_slice(draft.payload);
        let message = Message {
            seq: AtomicU64::new(0),
            channel: draft.channel.into(),
            event,
            kind: draft.kind,
            stored: draft.store,
            except: draft.except,
            published: now,
            cost: cost(draft),
            frame: Bytes::from(frame),
            header,
            block: OnceLock::new(),
            fragments: OnceLock::new(),
        };
        match message.cost() {
            size if size > limits.log_bytes => Err(Error::TooLarge { max: limits.log_bytes, size }),
            _ => Ok(Arc::new(message)),
        }
    }

    /// Gives the message its place in the log. For engines: once, and before it is handed out.
    pub fn number(&self, seq: u64) {
        self.seq.store(seq, Ordering::Relaxed);
    }

    /// Its place in the log; 0 while it has none.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    /// The channel's name.
    pub fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    /// The event's name.
    pub fn event(&self) -> EventName<&str> {
        match &self.event {
            EventName::Default => EventName::Default,
            EventName::Nameless => EventName::Nameless,
            EventName::Given(name) => EventName::Given(name),
        }
    }

    /// What the payload is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it belongs to the channel's history.
    pub fn stored(&self) -> bool {
        self.stored
    }

    /// The id of the reader that does not get it.
    pub fn except(&self) -> Option<u64> {
        self.except
    }

    /// When it was published.
    pub fn published(&self) -> Instant {
        self.published
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.header)..]
    }

    /// What it takes in the log's memory, in bytes, once it is encoded in every form: whether it is
    /// yet or not, so that the sum does not change behind the log's back.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Gives `sink` the message in the given form, whole frames or blocks. Returns their bytes.
    ///
    /// `id` says whether it moves the client's cursor; `frames` is that of [`super::Subscription`].
    pub(super) fn emit(
        &self,
        form: Form,
        id: bool,
        frames: Option<Kind>,
        wire: &Wire,
        sink: &mut impl FnMut(Bytes),
    ) -> usize {
        match form {
            Form::Raw if self.kind == Kind::Server => 0,
            Form::Raw if frames.is_some_and(|kind| self.can_be(kind)) => {
                // Few want it, so it is not kept.
                let kind = frames.unwrap_or(self.kind);
                let payload = self.payload();
                if payload.len() > FRAGMENT_SIZE {
                    return frame::each_frame(&frame::fragments(opcode(kind), payload), sink);
                }
                let frame = frame::frame(true, opcode(kind), payload);
                let length = frame.len();
                sink(frame);
                length
            }
            Form::Raw if self.header == 0 => {
                let encode = || frame::fragments(opcode(self.kind), &self.frame);
                frame::each_frame(self.fragments.get_or_init(encode), sink)
            }
            Form::Raw => {
                sink(self.frame.clone());
                self.frame.len()
            }
            Form::Sse | Form::Push => {
                let block = self.block.get_or_init(|| self.encode(wire));
                if id { block.emit(form, sink) } else { block.emit_without_id(form, sink) }
            }
        }
    }

    /// Whether it is sent as another kind of message than it was published, if that is asked for.
    fn can_be(&self, kind: Kind) -> bool {
        opcode(kind) != opcode(self.kind) && (kind == Kind::Binary || std::str::from_utf8(self.payload()).is_ok())
    }

    fn encode(&self, wire: &Wire) -> Block {
        let event = if self.kind == Kind::Binary { EventName::Given(sse::BINARY_EVENT) } else { self.event() };
        wire.block(Some(self.seq()), event, &content(self.kind, self.payload()))
    }
}

fn content(kind: Kind, payload: &[u8]) -> Content<'_> {
    if kind == Kind::Binary { Content::Binary(payload) } else { Content::Text(payload) }
}

/// See [`Message::cost`]. Each line of a text grows by a field's name.
fn cost(draft: &Draft<'_>) -> usize {
    // A long one is kept whole and in fragments.
    let kept = |length: usize| if length > FRAGMENT_SIZE { 2 * length } else { length };
    let event = if let EventName::Given(name) = draft.event { name.len() } else { 0 };
    let block = 128 + event + content(draft.kind, draft.payload).length();
    size_of::<Message>() + draft.channel.len() + event + kept(draft.payload.len()) + kept(block)
}

fn opcode(kind: Kind) -> Opcode {
    if matches!(kind, Kind::Binary | Kind::Utf8Bytes) { Opcode::Binary } else { Opcode::Text }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Epoch;
    use super::*;

    fn message(draft: &Draft<'_>) -> Arc<Message> {
        let message = Message::new(draft, &Limits::default(), Instant::now()).unwrap();
        message.number(5);
        message
    }

    fn emitted(message: &Message, form: Form) -> Vec<Bytes> {
        let mut frames = Vec::new();
        message.emit(form, true, None, &Wire::new(Epoch::from(1), None), &mut |bytes| frames.push(bytes));
        frames
    }

    #[test]
    fn every_form() {
        let text = message(&Draft { event: EventName::Given("said"), ..Draft::text("c", b"hi") });
        assert_eq!(emitted(&text, Form::Raw), [&b"\x81\x02hi"[..]]);
        assert_eq!(emitted(&text, Form::Sse), [&b"id: 1-5\nevent: said\ndata: hi\n\n"[..]]);
        assert_eq!(emitted(&text, Form::Push), [&b"\x81\x1eid: 1-5\nevent: said\ndata: hi\n\n"[..]]);
        let binary = message(&Draft::binary("c", &[1, 2]));
        assert_eq!(emitted(&binary, Form::Raw), [&b"\x82\x02\x01\x02"[..]]);
        assert_eq!(emitted(&binary, Form::Sse), [&b"id: 1-5\nevent: push.binary\ndata: AQI=\n\n"[..]]);
        let either = message(&Draft { kind: Kind::Utf8Bytes, ..Draft::text("c", b"hi") });
        assert_eq!(emitted(&either, Form::Raw), [&b"\x82\x02hi"[..]]);
        assert_eq!(emitted(&either, Form::Sse), [&b"id: 1-5\ndata: hi\n\n"[..]]);
        let server =
            message(&Draft { kind: Kind::Server, event: EventName::Given("push.join"), ..Draft::text("c", b"{}") });
        assert!(emitted(&server, Form::Raw).is_empty());
        assert_eq!(emitted(&server, Form::Sse), [&b"id: 1-5\nevent: push.join\ndata: {}\n\n"[..]]);
        assert_eq!(text.payload(), b"hi");
    }

    #[test]
    fn encoded_once_for_all() {
        for payload in [vec![b'x'; 200], vec![b'x'; 100_000]] {
            let message = message(&Draft::text("c", &payload));
            for form in [Form::Raw, Form::Sse, Form::Push] {
                let (one, other) = (emitted(&message, form), emitted(&message, form));
                assert_eq!(one.len(), if payload.len() > FRAGMENT_SIZE && form != Form::Sse { 2 } else { 1 });
                assert!(one.iter().zip(&other).all(|(one, other)| one.as_ptr() == other.as_ptr()));
            }
        }
    }

    #[test]
    fn costs_no_less_than_it_takes() {
        let lines = "\n".repeat(30_000);
        let long = "x".repeat(200_000);
        let named = Draft { event: EventName::Given(&long), ..Draft::text("c", b"hi") };
        let drafts = [&b""[..], b"hi", &[b'x'; FRAGMENT_SIZE], lines.as_bytes(), long.as_bytes()];
        let drafts = drafts.into_iter().flat_map(|payload| [Draft::text("c", payload), Draft::binary("c", payload)]);
        for draft in drafts.chain([named]) {
            let message = message(&draft);
            let sizes = |form| emitted(&message, form).iter().map(Bytes::len).collect::<Vec<_>>();
            let (raw, block, push) = (sizes(Form::Raw), sizes(Form::Sse), sizes(Form::Push));
            let fragments = [raw, push].into_iter().filter(|frames| frames.len() > 1).flatten();
            let name = if let EventName::Given(name) = draft.event { name.len() } else { 0 };
            let taken = name + message.frame.len() + block[0] + fragments.sum::<usize>();
            assert!(message.cost() >= taken, "{taken} of {}", message.cost());
            assert!(message.cost() <= taken + taken / 16 + size_of::<Message>() + 128, "{taken} of {}", message.cost());
        }
    }

    #[test]
    fn refusals() {
        let limits = Limits { log_bytes: 1000, ..Limits::default() };
        let error = |draft: &Draft<'_>| Message::new(draft, &limits, Instant::now()).unwrap_err();
        assert_eq!(error(&Draft::text("", b"")), Error::EmptyName);
        assert_eq!(error(&Draft::text(&"x".repeat(256), b"")), Error::LongName { max: 255, length: 256 });
        for name in ["a\nb", "a\rb", "a\0b"] {
            assert_eq!(error(&Draft { event: EventName::Given(name), ..Draft::text("c", b"") }), Error::BrokenEvent);
        }
        assert!(matches!(error(&Draft::text("c", &[0; 1000])), Error::TooLarge { max: 1000, .. }));
    }
}
