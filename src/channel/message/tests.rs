use super::super::cursor::Epoch;
use super::*;

fn message(draft: &Draft<'_>) -> Arc<Message> {
    let message = Message::new(draft, &Limits::default(), Instant::now()).unwrap();
    message.number(5);
    message
}

fn emitted(message: &Message, shape: Shape) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let flags = Flags { id: true, frames: None };
    message.emit(shape.into(), flags, &encoder(), &mut Deflations::default(), &mut |bytes| frames.push(bytes));
    let mut cached = Vec::new();
    assert!(message.emit_cached(shape.into(), flags, &mut |bytes| cached.push(bytes)).is_some());
    assert_eq!(cached, frames);
    frames
}

fn encoder() -> Encoder {
    Encoder::new(Epoch::from(1), None)
}

#[test]
fn every_shape() {
    let text = message(&Draft { event: EventName::Given("said"), ..Draft::text("c", b"hi") });
    assert_eq!(emitted(&text, Shape::Raw), [&b"\x81\x02hi"[..]]);
    assert_eq!(emitted(&text, Shape::EventStream), [&b"id: 1-5\nevent: said\ndata: hi\n\n"[..]]);
    assert_eq!(emitted(&text, Shape::PushV1), [&b"\x81\x1eid: 1-5\nevent: said\ndata: hi\n\n"[..]]);
    let binary = message(&Draft::binary("c", &[1, 2]));
    assert_eq!(emitted(&binary, Shape::Raw), [&b"\x82\x02\x01\x02"[..]]);
    assert_eq!(emitted(&binary, Shape::EventStream), [&b"id: 1-5\nevent: push.binary\ndata: AQI=\n\n"[..]]);
    let either = message(&Draft { kind: Kind::Utf8Bytes, ..Draft::text("c", b"hi") });
    assert_eq!(emitted(&either, Shape::Raw), [&b"\x82\x02hi"[..]]);
    assert_eq!(emitted(&either, Shape::EventStream), [&b"id: 1-5\ndata: hi\n\n"[..]]);
    let server =
        message(&Draft { kind: Kind::Server, event: EventName::Given("push.join"), ..Draft::text("c", b"{}") });
    assert!(emitted(&server, Shape::Raw).is_empty());
    assert_eq!(emitted(&server, Shape::EventStream), [&b"id: 1-5\nevent: push.join\ndata: {}\n\n"[..]]);
    assert_eq!(text.payload(), b"hi");
}

#[test]
fn encoded_once_for_all() {
    for payload in [vec![b'x'; 200], vec![b'x'; 100_000]] {
        let message = message(&Draft::text("c", &payload));
        for shape in [Shape::Raw, Shape::EventStream, Shape::PushV1] {
            let (one, other) = (emitted(&message, shape), emitted(&message, shape));
            assert_eq!(one.len(), if payload.len() > FRAGMENT_SIZE && shape != Shape::EventStream { 2 } else { 1 });
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
        let sizes = |shape| emitted(&message, shape).iter().map(Bytes::len).collect::<Vec<_>>();
        let (raw, block, push) = (sizes(Shape::Raw), sizes(Shape::EventStream), sizes(Shape::PushV1));
        let fragments = [raw, push].into_iter().filter(|frames| frames.len() > 1).flatten();
        let name = if let EventName::Given(name) = draft.event { name.len() } else { 0 };
        let taken = name + message.frame.len() + block[0] + fragments.sum::<usize>();
        assert!(message.cost() >= taken, "{taken} of {}", message.cost());
        assert!(message.cost() <= taken + taken / 16 + size_of::<Message>() + 128, "{taken} of {}", message.cost());
    }
}

/// What a reader with permessage-deflate gets, and what was compressed for it.
fn deflated(message: &Message, shape: Shape, frames: Option<Kind>, bits: u8) -> (Vec<u8>, Deflations) {
    let encoding = Encoding { shape, deflate: WindowBits::new(bits) };
    let (mut out, mut cached, mut deflations) = (Vec::new(), Vec::new(), Deflations::default());
    let flags = Flags { id: true, frames };
    let known = message.emit_cached(encoding, flags, &mut |bytes| cached.extend_from_slice(&bytes));
    message.emit(encoding, flags, &encoder(), &mut deflations, &mut |bytes| out.extend_from_slice(&bytes));
    assert!(known.is_none() || (cached == out && deflations == Deflations::default()), "{shape:?}");
    (out, deflations)
}

fn compressible(draft: &Draft<'_>) -> Arc<Message> {
    let limits = Limits { deflate_min: Some(512), ..Limits::default() };
    let message = Message::new(draft, &limits, Instant::now()).unwrap();
    message.number(5);
    message
}

#[test]
fn compressed_once_for_each_shape_and_window() {
    let text = b"Hello! ".repeat(300);
    let message = compressible(&Draft::text("c", &text));
    let mut made = 0;
    for (shape, bits, new) in [
        (Shape::Raw, 15, 1),
        (Shape::Raw, 15, 0),
        (Shape::Raw, 12, 0),
        (Shape::Raw, 9, 1),
        (Shape::PushV1, 15, 1),
        (Shape::PushV1, 12, 0),
        (Shape::PushV1, 10, 1),
        (Shape::EventStream, 15, 0),
    ] {
        let (out, deflations) = deflated(&message, shape, None, bits);
        assert_eq!(deflations.messages, new, "{shape:?} {bits}");
        assert_eq!(out[0] == 0xC1, shape != Shape::EventStream, "{shape:?} {bits}");
        made += deflations.after as usize;
    }
    assert!(made < 400);
    // The compressed form is the same in a binary frame.
    let (text, _) = deflated(&message, Shape::Raw, None, 15);
    let (binary, deflations) = deflated(&message, Shape::Raw, Some(Kind::Binary), 15);
    assert_eq!((binary[0], &binary[1..], deflations.messages), (0xC2, &text[1..], 0));
}

#[test]
fn not_compressed() {
    let text = b"Hello! ".repeat(300);
    let without_number = Flags { id: false, frames: None };
    let drafts = [
        Draft::text("c", &text[..511]),
        Draft { compress: false, ..Draft::text("c", &text) },
        Draft { kind: Kind::Server, event: EventName::Given("push.join"), ..Draft::text("c", &text) },
    ];
    for draft in drafts {
        let message = compressible(&draft);
        assert!(message.deflated.is_none());
        for shape in [Shape::Raw, Shape::PushV1] {
            assert_eq!(deflated(&message, shape, None, 15).0, emitted(&message, shape).concat());
        }
    }
    let message = compressible(&Draft::text("c", &text));
    let encoding = Encoding { shape: Shape::PushV1, deflate: Some(WindowBits::MOST) };
    let (mut out, mut deflations) = (Vec::new(), Deflations::default());
    message.emit(encoding, without_number, &encoder(), &mut deflations, &mut |bytes| out.push(bytes));
    assert_eq!((out[0][0], deflations.messages), (0x81, 0));
}

#[test]
fn compressed_forms_are_counted_from_the_beginning() {
    for draft in [Draft::text("c", &b"Hello! ".repeat(20_000)), Draft::binary("c", &[7; 600])] {
        let (message, plain) = (compressible(&draft), message(&draft));
        let cost = message.cost();
        let forms = (9..=15).flat_map(|bits| {
            [Shape::Raw, Shape::PushV1].map(|shape| deflated(&message, shape, None, bits).1.after as usize)
        });
        assert!(plain.cost() + forms.sum::<usize>() <= cost);
        assert_eq!(message.cost(), cost);
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
