//! What passes the scanner, and what it refuses.

use super::*;
use proptest::prelude::*;

/// The number of a request, and its answer.
type Verdict = Option<(u64, u16)>;

/// What hyper gets, which head was refused, and which body was broken.
fn through(pieces: &[&[u8]]) -> (Vec<u8>, Verdict, Verdict) {
    let mut scanner = Scanner::new(&Limits::default(), false);
    let mut output = Vec::new();
    for piece in pieces {
        match scanner.scan(piece) {
            None => output.extend_from_slice(piece),
            Some(bytes) => output.extend_from_slice(&bytes),
        }
    }
    let number = |verdict: Option<(u64, StatusCode)>| verdict.map(|(index, status)| (index, status.as_u16()));
    (output, number(scanner.refusal), number(scanner.breach))
}

fn refused(head: &str) -> Option<u16> {
    through(&[head.as_bytes()]).1.map(|(_, status)| status)
}

#[test]
fn whole_requests_pass_untouched() {
    let wire =
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 4\r\n\r\na\nb\nPOST / HTTP/1.1\r\n\
        transfer-encoding: Chunked\r\n\r\n3;x=y\r\na\nb\r\n0\r\nt: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    assert_eq!(through(&[wire]), (wire.to_vec(), None, None));
}

/// The RFC 9112 section that refuses each.
#[test]
fn heads_that_must_not_pass() {
    let rows = [
        ("2.2 bare LF", "GET / HTTP/1.1\nhost: a\n\n", 400),
        ("2.2 one bare LF", "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", 400),
        ("6.1 CL and TE", "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("6.1 TE and CL", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", 400),
        ("6.1 two TE", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("6.1 chunked twice", "POST / HTTP/1.1\r\ntransfer-encoding: chunked, chunked\r\n\r\n", 501),
        ("6.1 gzip", "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        ("6.1 identity", "POST / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n", 501),
        ("6.1 xchunked", "POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n", 501),
        ("6.1 TE on 1.0", "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("6.3 CL +1", "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", 400),
        ("6.3 CL -1", "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        ("6.3 CL 0x1", "POST / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n", 400),
        ("6.3 CL 1,1", "POST / HTTP/1.1\r\ncontent-length: 1,1\r\n\r\n", 400),
        ("6.3 CL empty", "POST / HTTP/1.1\r\ncontent-length:\r\n\r\n", 400),
        ("6.3 CL 2^64", "POST / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n", 400),
        ("RFC 9110 15.5.14 CL 2^64 - 1", "POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n", 413),
        ("6.3 two CL", "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("3.2 a fragment", "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("3 double space", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("3 HTTP/0.9", "GET /\r\n", 400),
        ("3 an SSH banner", "SSH-2.0-OpenSSH_9.2\r\n", 400),
        ("3 a TLS hello", "\u{16}\u{3}\u{1}\u{2}", 400),
        ("2.3 HTTP/1.2", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505),
        ("2.3 HTTP/2.0 preface", "PRI * HTTP/2.0\r\n\r\n", 505),
    ];
    for (name, head, status) in rows {
        assert_eq!(refused(head), Some(status), "{name}");
    }
    assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(17_000))), Some(414));
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(66_000))), Some(431));
}

#[test]
fn bodies_whose_framing_is_broken() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = format!("1;{}\r\n", "x".repeat(chunked::MAX_CHUNK_LINE + 1));
    let trailers = format!("0\r\n{}", "a: b\r\n".repeat(1000));
    for body in [
        "-1\r\n",
        "0x5\r\n",
        "5g\r\n",
        "11112222333344445\r\n",
        "1\na",
        "1\r\na\n",
        "1\r\nab",
        "\r\n",
        ";\r\n",
        "0\r\n\n",
        &long,
        &trailers,
    ] {
        let (output, _, breach) = through(&[format!("{head}{body}").as_bytes()]);
        assert_eq!(breach, Some((0, 400)), "{}", &body[..body.len().min(20)]);
        assert!(output.starts_with(head.as_bytes()), "hyper gets the head, to be answered");
    }
}

#[test]
fn a_chunk_that_is_too_large_is_refused_by_its_size() {
    let (output, _, breach) = through(&[
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"1\r\na\r\n40000000\r\n",
    ]);
    assert_eq!(breach, Some((1, 413)), "the default is 1 GiB");
    assert!(output.ends_with(b"1\r\na\r\n40000000\r"));
}

#[test]
fn a_refusal_takes_its_turn() {
    let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let wire = format!("{good}{good}GET / HTTP/1.1\nhost: b\n\n{good}");
    let (output, refusal, _) = through(&[wire.as_bytes()]);
    assert_eq!(String::from_utf8(output).unwrap(), format!("{good}{good}GET / HTTP/1.1\r\nhost: placeholder\r\n\r\n"));
    assert_eq!(refusal, Some((2, 400)));
}

#[test]
fn what_follows_a_request_for_an_upgrade_waits_for_the_answer() {
    let head = b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n";
    let behind = b"GET /\n HTTP";
    let mut scanner = Scanner::new(&Limits::default(), true);
    assert_eq!(scanner.scan(&[&head[..], behind].concat()).unwrap(), head[..]);
    assert_eq!(scanner.place(), Place::Undecided);
    assert_eq!(scanner.take_held(), behind[..]);
    scanner.scan(behind);
    assert_eq!(scanner.decline_upgrade().unwrap(), PLACEHOLDER);
    assert_eq!(scanner.decline_upgrade(), None);
    assert_eq!(scanner.refusal_of(1), Some(StatusCode::BAD_REQUEST));
}

#[test]
fn the_preface_of_http_2_is_no_request_of_http_1() {
    let preface = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..];
    for cut in 1..preface.len() {
        let mut scanner = Scanner::new(&Limits::default(), true);
        assert_eq!(scanner.scan(&preface[..cut]), Some(Bytes::new()), "{cut}");
        scanner.scan(&preface[cut..]);
        assert_eq!((scanner.place(), scanner.take_held()), (Place::Http2, Bytes::from_static(preface)), "{cut}");
    }
    let mut scanner = Scanner::new(&Limits::default(), true);
    scanner.scan(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(scanner.scan(preface).unwrap(), PLACEHOLDER, "only at the beginning");
}

#[test]
fn an_incomplete_head_is_held_back() {
    let mut scanner = Scanner::new(&Limits::default(), true);
    assert_eq!(scanner.place(), Place::Between);
    assert_eq!(scanner.scan(b"GET / HT"), Some(Bytes::new()));
    assert_eq!(scanner.place(), Place::Head);
    let whole = scanner.scan(b"TP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(whole, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(scanner.place(), Place::Between);
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        "[a-z\r\n]{0,40}".prop_map(|body| format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())),
        proptest::collection::vec("[a-z\r\n]{1,40}", 0..4).prop_map(|chunks| {
            let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
        }),
    ]
}

proptest! {
    #[test]
    fn valid_requests_pass_however_they_are_cut(messages in proptest::collection::vec(message(), 1..6), cut in 1usize..50) {
        let wire = messages.concat();
        let pieces: Vec<&[u8]> = wire.as_bytes().chunks(cut).collect();
        prop_assert_eq!(through(&pieces), (wire.into_bytes(), None, None));
    }

    #[test]
    fn the_cut_makes_no_difference(wire in "(GET|POST|[a-z]) /[a-z]* HTTP/1.[01]\r?\n((content-length|transfer-encoding|a): ?(chunked|[0-9]{1,2}|,)\r?\n){0,3}\r?\n[0-9a-f\r\n]{0,30}", cut in 1usize..40) {
        let pieces: Vec<&[u8]> = wire.as_bytes().chunks(cut).collect();
        prop_assert_eq!(through(&[wire.as_bytes()]), through(&pieces));
    }

    /// The preface of HTTP/2, or nearly, and bytes behind it.
    #[test]
    fn http_2_gets_all_bytes_from_its_preface_on(
        behind in proptest::collection::vec(any::<u8>(), 0..60),
        changed in proptest::option::of((0usize..15, any::<u8>())),
        cuts in proptest::collection::vec(1usize..20, 1..20),
    ) {
        let mut wire = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &behind].concat();
        let is_preface = changed.is_none_or(|(at, byte)| std::mem::replace(&mut wire[at], byte) == byte);
        let mut scanner = Scanner::new(&Limits::default(), true);
        let (mut rest, mut held) = (&wire[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            if scanner.place() == Place::Http2 {
                held.extend_from_slice(piece);
            } else {
                scanner.scan(piece);
                if scanner.place() == Place::Http2 {
                    held.extend_from_slice(&scanner.take_held());
                }
            }
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(scanner.place() == Place::Http2, is_preface);
        if is_preface {
            prop_assert_eq!(held, wire);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (output, _, _) = through(&[&bytes]);
        prop_assert!(output.len() <= bytes.len() + PLACEHOLDER.len());
    }
}
