use super::*;
use proptest::prelude::*;

fn all<'a>(headers: &'a ResponseHeaders, name: &str) -> Vec<&'a str> {
    headers.get_all(name).map(|value| std::str::from_utf8(value).unwrap()).collect()
}

#[test]
fn header_lines_cannot_be_split() {
    let mut headers = ResponseHeaders::new();
    headers.add(b"Set-Cookie", b"a=1\nb=2").unwrap();
    assert_eq!(all(&headers, "set-cookie"), ["a=1", "b=2"]);
    assert!(matches!(headers.clone().add(b"x", b"a\rb"), Err(HeadError::Value { .. })));
    assert!(matches!(headers.clone().add(b"x", b"a\r\nb: c"), Err(HeadError::Value { .. })));
    assert!(matches!(headers.clone().add(b"x", b"a\0"), Err(HeadError::Value { .. })));
    assert!(matches!(headers.add(b"x y", b"a"), Err(HeadError::Name(_))));
    headers.add(b"rack.hijack", b"secret").unwrap();
    assert_eq!(headers.iter().count(), 2);
    assert_eq!(headers.lines(), b"set-cookie: a=1\r\nset-cookie: b=2\r\n");
}

#[test]
fn blanks_around_a_value_do_not_belong_to_it() {
    let rows: [(&[u8], &[&str]); 8] = [
        (b" a b\t", &["a b"]),
        (b"a\tb", &["a\tb"]),
        (b"\t a\t\n\tb ", &["a", "b"]),
        (b"", &[""]),
        (b" \t ", &[""]),
        (b"a\n", &["a", ""]),
        (b"\n\n", &["", "", ""]),
        ("gr\u{fc}n, and so on".as_bytes(), &["gr\u{fc}n, and so on"]),
    ];
    for (value, lines) in rows {
        let mut headers = ResponseHeaders::new();
        headers.add(b"x", value).unwrap();
        assert_eq!(all(&headers, "x"), lines, "{value:?}");
    }
}

#[test]
fn the_messages_say_what_is_wrong() {
    let refused = |name: &[u8], value: &[u8]| ResponseHeaders::new().add(name, value).unwrap_err().to_string();
    assert_eq!(refused(b"", b"a"), r#"header name "" is not a token"#);
    assert_eq!(refused(b"a:", b"a\0"), r#"header name "a:" is not a token"#);
    assert_eq!(refused(b"X", b"a\n\0"), r#"header X has a value with a control character: "a\n\0""#);
    assert!(refused(&[b'x'; 65_536], b"").ends_with("is not a token"));
    assert!(ResponseHeaders::new().add(&[b'x'; 65_535], b"").is_ok());
}

#[test]
fn headers_are_removed_replaced_and_found() {
    let mut headers = ResponseHeaders::new();
    for (name, value) in [("X", "1"), ("Connection", "a, Close"), ("x", "2"), ("y", ""), ("Content-Length", "5")] {
        headers.add(name.as_bytes(), value.as_bytes()).unwrap();
    }
    assert!(headers.has_any_of_the_message() && headers.has_token("connection", "close"));
    assert_eq!((headers.get("x"), headers.single("x"), headers.get("y")), (Some(&b"1"[..]), None, Some(&b""[..])));
    headers.remove("x");
    headers.remove("connection");
    assert!(!headers.contains("x") && !headers.contains("connection") && headers.contains("content-length"));
    headers.set("content-length", "6");
    assert_eq!(headers.lines(), b"y: \r\ncontent-length: 6\r\n");
    headers.remove("content-length");
    assert!(!headers.has_any_of_the_message() && headers.single("y") == Some(b""));
    headers.remove("y");
    assert!(headers.is_empty());
}

#[test]
fn the_map_for_others_has_the_same_headers() {
    let headers = ResponseHeaders::from([("set-cookie", "a=1"), ("x", ""), ("set-cookie", "b: 2")]);
    let map = headers.into_map();
    assert_eq!(map.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b: 2"]);
    assert_eq!((&map["x"], map.len()), (&HeaderValue::from_static(""), 3));
}

#[test]
fn a_usual_name_is_a_token_in_lower_case() {
    let names = ["date", "content-type", "content-length", "transfer-encoding", "x-request-id", "set-cookie"];
    for name in names {
        assert!(usual(name.as_bytes()).is_some(), "{name}");
        assert!(usual(name.to_uppercase().as_bytes()).is_none());
        let mut headers = ResponseHeaders::new();
        headers.add(name.to_uppercase().as_bytes(), b"1").unwrap();
        assert_eq!(headers, ResponseHeaders::from([(name, "1")]));
    }
}

/// What the crate `http` makes of a header.
fn by_http(name: &[u8], value: &[u8]) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let name = HeaderName::from_bytes(name).ok()?;
    let lines = value.split(|byte| *byte == b'\n').map(|line| HeaderValue::from_bytes(trimmed(line)).ok());
    lines.map(|line| Some((name.clone(), line?))).collect()
}

proptest! {
    #[test]
    fn the_same_headers_are_valid_as_for_the_crate_http(
        name in prop_oneof!["[A-Za-z-]{0,20}", "[ -~]{0,6}", "(Content-Type|date|Connection)"],
        value in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            "[ -~\t\n]{0,40}".prop_map(String::into_bytes),
            "[ -~]{0,40}[\u{0}-\u{1f}\u{7f}]?[ -~]{0,20}".prop_map(String::into_bytes),
        ],
    ) {
        let mut headers = ResponseHeaders::new();
        let added = headers.add(name.as_bytes(), &value);
        match by_http(name.as_bytes(), &value) {
            Some(lines) => {
                prop_assert_eq!(added, Ok(()));
                let map: HeaderMap = headers.clone().into_map();
                prop_assert!(map.iter().map(|(name, value)| (name.clone(), value.clone())).eq(lines));
                prop_assert_eq!(headers.iter().count(), map.len());
            }
            None => prop_assert!(added.is_err()),
        }
    }

    #[test]
    fn a_control_character_is_found_anywhere(length in 0usize..40, at in 0usize..40, byte: u8) {
        let mut value = vec![b'~'; length];
        value.extend_from_slice(&[0x80, 0xff][..length % 3]);
        if let Some(place) = value.get_mut(at) {
            *place = byte;
        }
        prop_assert_eq!(has_control(&value), value.iter().any(u8::is_ascii_control));
    }
}
