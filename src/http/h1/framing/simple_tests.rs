//! What counts as a simple request: never more than what hyper would get as well, and never with another end.

use super::*;
use proptest::prelude::*;

/// A simple request: its method and target, how many fields it has, its body, and how many bytes it took.
type Taken = (String, Vec<u8>, usize, Vec<u8>, usize);

/// The simple requests at the beginning of what comes in pieces, and whether something else follows them.
fn simple(pieces: &[&[u8]], limits: &Limits) -> (Vec<Taken>, bool) {
    let mut scanner = Scanner::new(limits, true);
    let (mut requests, mut before) = (Vec::new(), 0);
    for piece in pieces {
        let mut input = *piece;
        before += input.len();
        loop {
            let next = scanner.take_simple(input, limits);
            input = &[];
            let left = scanner.held.len();
            match next {
                Next::Simple(head, body) => {
                    let taken = before - left;
                    before = left;
                    let method = head.method_name().to_owned();
                    requests.push((method, head.target().to_vec(), head.fields().count(), body.to_vec(), taken));
                }
                Next::Partial => break,
                Next::Other => return (requests, true),
            }
        }
    }
    assert_eq!(scanner.heads(), requests.len() as u64);
    (requests, false)
}

fn one(wire: &str) -> Option<Taken> {
    simple(&[wire.as_bytes()], &Limits::default()).0.pop()
}

#[test]
fn simple_requests() {
    for (wire, method, target, fields, body) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET", "/", 1, ""),
        ("\r\n\r\nGET /a?b=%20&c HTTP/1.1\r\nhost: a\r\nX: y \r\n\r\n", "GET", "/a?b=%20&c", 2, ""),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", "HEAD", "/", 2, ""),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", "POST", "/", 2, "abc"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "POST", "/", 2, ""),
        ("PURGE / HTTP/1.1\r\nhost: a\r\n\r\n", "PURGE", "/", 1, ""),
    ] {
        let expected = (method.to_owned(), target.as_bytes().to_vec(), fields, body.as_bytes().to_vec(), wire.len());
        assert_eq!(one(wire), Some(expected), "{wire}");
    }
}

#[test]
fn a_connection_between_two_requests_holds_no_memory() {
    let (simple, other) = ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    for requests in [[simple, simple], [simple, other], [other, simple]] {
        let wire = requests.concat();
        for cut in 0..=wire.len() {
            let mut scanner = Scanner::new(&Limits::default(), false);
            for piece in [&wire[..cut], &wire[cut..]] {
                let mut next = scanner.take_simple(piece.as_bytes(), &Limits::default());
                while !matches!(next, Next::Partial) {
                    if matches!(next, Next::Other) {
                        scanner.scan(&[]);
                    }
                    next = scanner.take_simple(&[], &Limits::default());
                }
            }
            assert_eq!((scanner.heads(), scanner.place()), (2, Place::Between));
            // Memory that it still held would be used again now.
            scanner.held.reserve(1);
            assert!(scanner.held.capacity() < simple.len(), "cut at {cut}: {} bytes", scanner.held.capacity());
        }
    }
}

#[test]
fn requests_that_are_left_to_hyper() {
    for wire in [
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, te\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\na",
        "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a  HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nx: \0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(simple(&[wire.as_bytes()], &Limits::default()), (Vec::new(), true), "{wire}");
    }
}

#[test]
fn limits_are_left_to_hyper_and_the_scanner() {
    let limits = Limits { max_headers: 2, max_head_size: 100, max_uri_size: 20, body_memory: 5, ..Limits::default() };
    let cases = [
        (
            "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\n".to_owned(),
        ),
        (
            format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(78)),
            format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(77)),
        ),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20)), format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(19))),
        (
            "POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\nabcdef".to_owned(),
            "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabcde".to_owned(),
        ),
    ];
    for (beyond, within) in cases {
        assert_eq!(simple(&[beyond.as_bytes()], &limits), (Vec::new(), true), "{beyond}");
        assert_eq!(simple(&[within.as_bytes()], &limits).0.len(), 1, "{within}");
    }
}

/// Heads that are nearly always simple, and nearly always valid.
fn head() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => "(GET|POST|HEAD|PUT|X-A) /[a-z%?=&]{0,9} HTTP/1\\.1",
        1 => "[A-Z ]{0,5} [a-z/*#:]{0,9} ?HTTP/[12]\\.[012]",
    ];
    let field = prop_oneof![
        8 => "(host|accept|cookie|x-y): ?[ -~]{0,20} ?",
        2 => "[Cc]onnection: ?(keep-alive|Keep-Alive|close|te)",
        2 => "(content-length|Content-Length): ?[0-9]{1,2}",
        1 => "(transfer-encoding|upgrade|expect|content-length): ?(chunked|x|1|, |\\+1)",
        1 => "[a-z: \t\\x00-\\x1f]{0,9}",
    ];
    let end = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
    (line, proptest::collection::vec((field, end.clone()), 0..5), end).prop_map(|(line, fields, end)| {
        let fields: String = fields.into_iter().map(|(field, end)| field + end).collect();
        format!("{line}{end}{fields}\r\n")
    })
}

proptest! {
    /// Request smuggling needs two parsers that disagree. So what is taken as one simple request is one valid request for the scanner,
    /// too, which ends at the same byte, and means the same to the parser that hyper uses.
    #[test]
    fn a_simple_request_is_the_same_for_hyper(
        messages in proptest::collection::vec((head(), "[a-z\r\n]{0,30}"), 1..4),
        cut in 1usize..200,
    ) {
        let wire: String = messages.into_iter().map(|(head, body)| head + &body).collect();
        let wire = wire.as_bytes();
        let (requests, _) = simple(&[wire], &Limits::default());
        let mut at = 0;
        for (method, target, fields, body, taken) in &requests {
            let bytes = &wire[at..at + taken];
            at += taken;
            let mut scanner = Scanner::new(&Limits::default(), true);
            prop_assert_eq!(scanner.scan(bytes), None);
            prop_assert_eq!((scanner.place(), scanner.heads()), (Place::Between, 1));
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut parsed = httparse::Request::new(&mut headers);
            let length = parsed.parse(bytes).unwrap().unwrap();
            prop_assert_eq!(&bytes[length..], &body[..]);
            prop_assert_eq!((parsed.method, parsed.path.map(str::as_bytes)), (Some(&method[..]), Some(&target[..])));
            prop_assert_eq!((parsed.version, parsed.headers.len()), (Some(1), *fields));
        }
        // However it is cut, a simple request is the same, unless a cut goes through its body.
        let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
        let (cut, _) = simple(&pieces, &Limits::default());
        prop_assert_eq!(&cut[..], &requests[..cut.len()]);
    }
}
