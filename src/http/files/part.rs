//! Range requests for a file that an app sends (`to_path`): as for static files, but the app's headers say what is sent.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, IF_RANGE, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::conditional::{Tag, date, single};
use super::range::{self, Requested};

/// Headers that speak of what a 200 has, and not of a 416.
const OF_THE_FILE: [http::HeaderName; 9] = [
    ACCEPT_RANGES,
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
];

/// What of an app's file is sent in answer to `request`. `status` and `headers` are the app's, and become those of the
/// answer. `None`: nothing of the file is in the range, and the status is 416.
///
/// Left alone is an answer to anything but GET and HEAD, with another status than 200, or whose app knows better: it set
/// Content-Range, Content-Encoding or an Accept-Ranges without bytes.
pub fn choose(request: &Parts, status: &mut StatusCode, headers: &mut HeaderMap, length: u64) -> Option<Range<u64>> {
    let asks = matches!(request.method, Method::GET | Method::HEAD);
    let refuses = headers.get(ACCEPT_RANGES).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"bytes"));
    let knows_better = refuses || headers.contains_key(CONTENT_RANGE) || headers.contains_key(CONTENT_ENCODING);
    if !asks || *status != StatusCode::OK || knows_better {
        return Some(0..length);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // RFC 9110 section 14.2: Range means nothing with any method but GET.
    if request.method != Method::GET || !applies(&request.headers, headers, SystemTime::now()) {
        return Some(0..length);
    }
    match range::requested(&request.headers, length) {
        Requested::Whole => Some(0..length),
        Requested::Part(bytes) => {
            let range = format!("bytes {}-{}/{length}", bytes.start, bytes.end - 1);
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).ok()?);
            *status = StatusCode::PARTIAL_CONTENT;
            Some(bytes)
        }
        Requested::Unsatisfiable => {
            OF_THE_FILE.iter().for_each(|name| drop(headers.remove(name)));
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{length}")).ok()?);
            *status = StatusCode::RANGE_NOT_SATISFIABLE;
            None
        }
    }
}

/// If-Range, RFC 9110 section 13.1.5, compared with the app's ETag or Last-Modified. Without the header the range
/// applies; a validator that the app does not have is of another version.
fn applies(request: &HeaderMap, response: &HeaderMap, now: SystemTime) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = single(request, IF_RANGE) else { return false };
    if let Some((asked, rest)) = Tag::parse(value.as_bytes()) {
        let own = single(response, ETAG).and_then(|own| Tag::parse(own.as_bytes()));
        // Strong comparison, section 8.8.3.2.
        return own.is_some_and(|(own, behind)| own == asked && !own.weak && rest.is_empty() && behind.is_empty());
    }
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // The very date, and its second over: else there may be two versions of it (section 8.8.2.2).
    date(request, IF_RANGE).is_some_and(|asked| date(response, LAST_MODIFIED) == Some(asked) && asked < second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 10 May 2024 10:00:00 GMT";

    fn chosen(
        method: Method,
        asked: &[(&'static str, &'static str)],
        said: &[(&'static str, &'static str)],
    ) -> (u16, Option<Range<u64>>) {
        let mut request = http::Request::builder().method(method);
        for (name, value) in asked {
            request = request.header(*name, *value);
        }
        let (request, ()) = request.body(()).unwrap().into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut status = StatusCode::OK;
        let bytes = choose(&request, &mut status, &mut headers, 10);
        (status.as_u16(), bytes)
    }

    #[test]
    fn whose_range_it_is() {
        let (range, whole, part) = (("range", "bytes=2-5"), (200, Some(0..10)), (206, Some(2..6)));
        assert_eq!(chosen(Method::GET, &[range], &[]), part);
        assert_eq!(chosen(Method::GET, &[range], &[("accept-ranges", "bytes")]), part);
        assert_eq!(chosen(Method::GET, &[("range", "bytes=10-")], &[]), (416, None));
        for method in [Method::HEAD, Method::POST] {
            assert_eq!(chosen(method, &[range], &[]), whole);
        }
        for said in [("accept-ranges", "none"), ("content-range", "bytes 0-9/20"), ("content-encoding", "gzip")] {
            assert_eq!(chosen(Method::GET, &[range], &[said]), whole, "{said:?}");
        }
    }

    #[test]
    fn if_range_is_compared_with_what_the_app_says() {
        let (strong, weak, dated) = (("etag", "\"a\""), ("etag", "W/\"a\""), ("last-modified", DATE));
        let status = |value, said: &[_]| chosen(Method::GET, &[("range", "bytes=0-1"), ("if-range", value)], said).0;
        assert_eq!(status("\"a\"", &[strong]), 206);
        assert_eq!(status(DATE, &[dated]), 206);
        assert_eq!(status(DATE, &[weak, dated]), 206);
        for (value, said) in [
            ("\"a\"", &[][..]),
            ("\"a\"", &[weak]),
            ("W/\"a\"", &[weak]),
            ("\"b\"", &[strong]),
            ("\"a\", \"b\"", &[strong]),
            (DATE, &[strong]),
            ("Fri, 10 May 2024 10:00:01 GMT", &[dated]),
            ("junk", &[strong, dated]),
            ("Fri, 10 May 2999 10:00:00 GMT", &[("last-modified", "Fri, 10 May 2999 10:00:00 GMT")]),
        ] {
            assert_eq!(status(value, said), 200, "{value} {said:?}");
        }
    }
}
