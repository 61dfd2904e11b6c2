use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use httparse::{EMPTY_HEADER, Error, Status};
use proptest::prelude::*;

use super::{Method, RequestHead};

/// What hyper does with a head. See `Server::parse` in its file role.rs.
fn hyper(raw: &[u8], max_headers: usize) -> Result<Parts, StatusCode> {
    let mut slots = vec![EMPTY_HEADER; max_headers];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(raw) {
        Ok(Status::Complete(length)) if length == raw.len() => {}
        Err(Error::TooManyHeaders) => return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        _ => return Err(StatusCode::BAD_REQUEST),
    }
    let target = request.path.unwrap();
    if target.len() > 65_534 {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let method = http::Method::from_bytes(request.method.unwrap().as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?;
    if request.headers.iter().any(|header| header.name.len() >= 1 << 16) {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let target = Bytes::copy_from_slice(target.as_bytes());
    let uri = Uri::from_maybe_shared(target).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut headers = HeaderMap::new();
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(header.value).unwrap());
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let version = if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    (parts.method, parts.uri, parts.version, parts.headers) = (method, uri, version, headers);
    Ok(parts)
}

/// All that a head says.
type Said = (String, Version, Vec<u8>, bool, Option<String>, String, Option<String>, Vec<(String, Vec<u8>)>);

fn said_by_parts(parts: &Parts) -> Said {
    let text = str::to_owned;
    let fields = parts.headers.iter().map(|(name, value)| (text(name.as_str()), value.as_bytes().to_vec()));
    (
        text(parts.method.as_str()),
        parts.version,
        parts.uri.to_string().into_bytes(),
        parts.uri.scheme().is_some(),
        parts.uri.authority().map(|authority| text(authority.as_str())),
        text(parts.uri.path()),
        parts.uri.query().map(text),
        fields.collect(),
    )
}

fn said(head: &RequestHead) -> Said {
    let text = str::to_owned;
    assert_eq!(head.path_bytes(), head.path().as_bytes());
    assert_eq!(head.query_bytes(), head.query().map(str::as_bytes));
    assert_eq!(head.method(), Method::named(head.method_name().as_bytes()));
    let fields = head.fields().map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()));
    (
        text(head.method_name()),
        head.version(),
        head.target().to_vec(),
        head.has_scheme(),
        head.authority().map(text),
        text(head.path()),
        head.query().map(text),
        fields.collect(),
    )
}

/// Both ways to make a head agree, and with what hyper says.
fn check(raw: &[u8], max_headers: usize) -> Result<RequestHead, StatusCode> {
    let (parsed, expected) = (RequestHead::parse(raw, max_headers), hyper(raw, max_headers));
    let shown = raw.escape_ascii();
    match (&parsed, expected) {
        (Ok(head), Ok(parts)) => {
            assert_eq!(said(head), said_by_parts(&parts), "{shown}");
            for name in parts.headers.keys() {
                let values: Vec<_> = parts.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
                assert_eq!(head.get_all(name.as_str()).collect::<Vec<_>>(), values, "{shown}");
                assert_eq!(head.get(name.as_str()), values.first().copied(), "{shown}");
            }
            assert!(!head.contains("x-absent"), "{shown}");
            assert_eq!(said(&RequestHead::from_parts(parts.clone())), said_by_parts(&parts), "{shown}");
        }
        (Err(status), Err(expected)) => assert_eq!(*status, expected, "{shown}"),
        (parsed, expected) => panic!("{parsed:?} and {expected:?}: {shown}"),
    }
    parsed
}

fn head(raw: &[u8]) -> RequestHead {
    check(raw, 100).unwrap()
}

#[test]
fn an_ordinary_request() {
    let head = head(b"GET /a/b?c=d HTTP/1.1\r\nHost: a:80\r\nX-One:  1 \t\r\nx-empty:\r\nX-TWO: a b\r\n\r\n");
    assert_eq!((head.method(), head.method_name(), head.version()), (Method::Get, "GET", Version::HTTP_11));
    assert_eq!((head.path(), head.query(), head.target()), ("/a/b", Some("c=d"), &b"/a/b?c=d"[..]));
    assert_eq!((head.has_scheme(), head.authority()), (false, None));
    assert_eq!(head.get("x-one"), Some(&b"1"[..]));
    assert_eq!(head.get("x-empty"), Some(&b""[..]));
    let block = b"host: a:80\r\nx-one:  1 \t\r\nx-empty:\r\nx-two: a b\r\n";
    assert_eq!(head.header_block(), Some(&block[..]));
    assert_eq!(format!("{head:?}"), "GET /a/b?c=d HTTP/1.1; host: a:80; x-one: 1; x-empty: ; x-two: a b");
}

#[test]
fn a_request_without_fields_or_with_empty_lines_before_it() {
    for raw in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\r\n\r\nGET / HTTP/1.0\r\n\r\n"] {
        let head = head(raw);
        assert_eq!((head.path(), head.query(), head.version()), ("/", None, Version::HTTP_10));
        assert_eq!((head.fields().count(), head.header_block()), (0, Some(&b""[..])));
    }
    assert_eq!(head(b"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n").header_block(), Some(&b"a: b\r\n"[..]));
}

#[test]
fn targets() {
    // Target, scheme, authority, path, query.
    type Row = (&'static str, bool, Option<&'static str>, &'static str, Option<&'static str>);
    let rows: [Row; 14] = [
        ("/?", false, None, "/", Some("")),
        ("/?a?b", false, None, "/", Some("a?b")),
        ("//a/b", false, None, "//a/b", None),
        ("/a%2fb;c=[d]", false, None, "/a%2fb;c=[d]", None),
        ("/{\"a\":1}", false, None, "/{\"a\":1}", None),
        ("/?`", false, None, "/", Some("`")),
        ("/\u{e4}?\u{f6}", false, None, "/\u{e4}", Some("\u{f6}")),
        ("*", false, None, "*", None),
        ("a", false, Some("a"), "", None),
        ("a:80", false, Some("a:80"), "", None),
        ("HTTP://a:1", true, Some("a:1"), "/", None),
        ("http://a?b", true, Some("a"), "/", Some("b")),
        ("foo://b@a/c?d", true, Some("b@a"), "/c", Some("d")),
        ("http://[::1]/", true, Some("[::1]"), "/", None),
    ];
    for (target, scheme, authority, path, query) in rows {
        let head = head(format!("OPTIONS {target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        let seen = (head.has_scheme(), head.authority(), head.path(), head.query());
        assert_eq!(seen, (scheme, authority, path, query), "{target}");
        assert_eq!(head.header_block(), Some(&b"host: a\r\n"[..]));
        assert_eq!(head.get("host"), Some(&b"a"[..]));
    }
    assert_eq!(head(b"GET HTTP://A:1?b HTTP/1.1\r\n\r\n").target(), b"http://A:1/?b");
    for refused in ["/`", "/<", "/a?\"", "/a?<", "a/b", "http://", "http:///a", "http://a b", "/\u{1}", "a?b"] {
        let raw = format!("GET {refused} HTTP/1.1\r\n\r\n");
        assert_eq!(check(raw.as_bytes(), 9).unwrap_err(), StatusCode::BAD_REQUEST, "{refused}");
    }
    assert!(check(b"GET /\xff HTTP/1.1\r\n\r\n", 9).is_err(), "not UTF-8");
}

#[test]
fn long_targets_and_names_and_many_fields() {
    let target = |length| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length));
    assert!(check(target(65_533).as_bytes(), 9).is_ok());
    assert_eq!(check(target(65_534).as_bytes(), 9).unwrap_err(), StatusCode::URI_TOO_LONG);
    let name = |length| format!("GET / HTTP/1.1\r\n{}: b\r\n\r\n", "A".repeat(length));
    assert!(check(name(65_535).as_bytes(), 9).is_ok());
    assert_eq!(check(name(65_536).as_bytes(), 9).unwrap_err(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    for most in [1, 99, 100, 101, 1000] {
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(check(fields(most).as_bytes(), most).unwrap().get_all("a").count(), most);
        let refusal = check(fields(most + 1).as_bytes(), most).unwrap_err();
        assert_eq!(refusal, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}

#[test]
fn heads_that_hyper_refuses() {
    for raw in [
        &b""[..],
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\na: b\r\n",
        b"GET / HTTP/1.1\r\n\r\nmore",
        b"G(T / HTTP/1.1\r\n\r\n",
        b" / HTTP/1.1\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\na : c\r\n\r\n",
        b"GET / HTTP/1.1\r\n: c\r\n\r\n",
        b"GET / HTTP/1.1\r\na\r\n\r\n",
        b"GET / HTTP/1.1\r\n a: b\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\na: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\n\xe4: b\r\n\r\n",
    ] {
        assert_eq!(check(raw, 9).unwrap_err(), StatusCode::BAD_REQUEST, "{}", raw.escape_ascii());
    }
}

#[test]
fn fields_with_the_same_name_follow_each_other() {
    let raw = b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nA: 3\r\nc: 4\r\nB: 5\r\na: 6\r\n\r\n";
    let head = head(raw);
    let fields: Vec<_> =
        head.fields().map(|(name, value)| format!("{}{}", name[0] as char, value[0] as char)).collect();
    assert_eq!(fields, ["a1", "a3", "a6", "b2", "b5", "c4"]);
    assert_eq!(head.header_block(), Some(&b"a: 1\r\nb: 2\r\na: 3\r\nc: 4\r\nb: 5\r\na: 6\r\n"[..]));
}

#[test]
fn fields_can_be_changed() {
    let raw = b"GET /a HTTP/1.1\r\na: 1\r\nb: 2\r\na: 3\r\nc: 4\r\n\r\n";
    let changed = |change: fn(&mut RequestHead)| {
        let mut head = head(raw);
        change(&mut head);
        assert_eq!((head.path(), head.method()), ("/a", Method::Get));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields: Vec<_> = head.fields().map(|(name, value)| text(name) + &text(value)).collect();
        (fields.join(" "), head.header_block().is_some())
    };
    assert_eq!(changed(|head| head.remove("a")), ("b2 c4".to_owned(), false));
    assert_eq!(changed(|head| head.remove("x")), ("a1 a3 b2 c4".to_owned(), true));
    assert_eq!(changed(|head| head.set("a", b"new")), ("anew b2 c4".to_owned(), false));
    assert_eq!(changed(|head| head.set("a", b"1")), ("a1 b2 c4".to_owned(), false));
    assert_eq!(changed(|head| head.set("b", b"2")), ("a1 a3 b2 c4".to_owned(), true));
    assert_eq!(changed(|head| head.set("d", b"")), ("a1 a3 b2 c4 d".to_owned(), false));
    assert_eq!(
        changed(|head| {
            head.set("b", b"long value");
            head.remove("c");
            head.set("e", b"5");
        }),
        ("a1 a3 blong value e5".to_owned(), false)
    );
}

#[test]
fn methods() {
    for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "CONNECT", "TRACE", "get", "A!~"]
    {
        let head = head(format!("{name} /a HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!((head.method_name(), head.path()), (name, "/a"));
        let known = format!("{:?}", head.method()).to_uppercase();
        assert_eq!(known, if ["TRACE", "get", "A!~"].contains(&name) { "OTHER" } else { name });
    }
}

/// A part of a head that is often valid.
fn target() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "/[a-z/%.]{0,20}([?][a-z=&?]{0,9})?".prop_map(String::into_bytes),
        "/[!-~]{0,12}".prop_map(String::into_bytes),
        "/[!-~\u{80}-\u{2ff}]{0,12}".prop_map(String::into_bytes),
        "(http|https|HTTP|a+b)://[a-z0-9@:.%\\[\\]]{0,9}[/?#]?[!-~]{0,9}".prop_map(String::into_bytes),
        "[a-z0-9@:.%\\[\\]*]{1,9}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(host|Accept|COOKIE|x|X-Y|user-agent|x_y)",
        3 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}",
        1 => "[ -~]{0,5}",
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[ \t]{0,2}[ -~\t]{0,40}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(prop_oneof![0x20_u8..=0x7e, 0x80_u8..=0xff], 0..40),
        1 => proptest::collection::vec(any::<u8>(), 0..9),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_head_is_read_as_hyper_reads_it(
        method in "(GET|POST|HEAD|[A-Za-z!~_]{1,20}|[ -~]{0,3})",
        target in target(),
        version in "(HTTP/1[.]1|HTTP/1[.]1|HTTP/1[.]0|HTTP/[0-9][.][0-9])",
        fields in proptest::collection::vec((name(), value()), 0..9),
        max_headers in 1_usize..12,
        (cut, flip) in (any::<prop::sample::Index>(), proptest::option::weighted(0.1, any::<u8>())),
    ) {
        let mut raw = [method.as_bytes(), b" ", &target, b" ", version.as_bytes(), b"\r\n"].concat();
        for (name, value) in &fields {
            raw.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
        }
        raw.extend(b"\r\n");
        if let Some(byte) = flip {
            let index = cut.index(raw.len());
            raw[index] = byte;
        }
        // The scanner does not let bare line feeds through.
        let bare = raw.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || raw[at - 1] != b'\r'));
        prop_assume!(!bare);
        let _ = check(&raw, max_headers);
    }

    #[test]
    fn many_fields_keep_their_groups(names in proptest::collection::vec("[a-c]{1,2}", 0..150)) {
        let lines: String = names.iter().enumerate().map(|(index, name)| format!("{name}: {index}\r\n")).collect();
        let raw = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        prop_assert!(check(raw.as_bytes(), 200).is_ok());
    }
}
