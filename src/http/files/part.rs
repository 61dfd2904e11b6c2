//! Range requests for a file that an app sends (`to_path`). The rules are those of static files, but the validators are the
//! app's headers.

use std::fs::File;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::conditional::{Strong, Tag, date, range_applies};
use super::range::{self, Requested};
use crate::http::body::Body;
use crate::http::file_body::FileBody;
use crate::http::head::ResponseHead;
use crate::http::headers::single;
use crate::http::response::Response;

/// Headers that describe the file, and so belong to a 200 but not to a 416.
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

/// Lets `response` send a file of `length` bytes, or the part of it that `request` asks for. A Content-Length of the app
/// does not matter.
pub fn send_file(mut response: Response, file: File, length: u64, request: &Parts) -> Response {
    let chosen = choose(request, &mut response.head, length);
    response.head.headers.remove(CONTENT_LENGTH);
    response.body = match chosen {
        Some(bytes) => Body::File(FileBody::part(file, bytes)),
        None => Body::Empty,
    };
    response
}

/// What of an app's file is sent in answer to `request`. `head` is the app's, and becomes that of the answer. `None`:
/// nothing of the file is in the range, and the status is 416.
///
/// Left alone is an answer to anything but GET and HEAD, with another status than 200, or whose app knows better: it set
/// Content-Range, Content-Encoding or an Accept-Ranges without bytes.
fn choose(request: &Parts, head: &mut ResponseHead, length: u64) -> Option<Range<u64>> {
    let ResponseHead { status, headers, .. } = head;
    let asks = matches!(request.method, Method::GET | Method::HEAD);
    let refuses = headers.get(ACCEPT_RANGES).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"bytes"));
    let knows_better = refuses || headers.contains_key(CONTENT_RANGE) || headers.contains_key(CONTENT_ENCODING);
    if !asks || *status != StatusCode::OK || knows_better {
        return Some(0..length);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // RFC 9110 section 14.2: Range means nothing with any method but GET.
    if request.method != Method::GET || !range_applies(&request.headers, &strong(headers, SystemTime::now())) {
        return Some(0..length);
    }
    match range::requested(&request.headers, length) {
        Requested::Whole => Some(0..length),
        Requested::Part(bytes) => {
            headers.insert(CONTENT_RANGE, range::content_range(&bytes, length)?);
            *status = StatusCode::PARTIAL_CONTENT;
            Some(bytes)
        }
        Requested::Unsatisfiable => {
            OF_THE_FILE.iter().for_each(|name| drop(headers.remove(name)));
            headers.insert(CONTENT_RANGE, range::unsatisfied_range(length)?);
            *status = StatusCode::RANGE_NOT_SATISFIABLE;
            None
        }
    }
}

/// What an app says by which one version of its file is told from another. A date counts once its second is over:
/// otherwise there may be two versions of it (RFC 9110 section 8.8.2.2).
fn strong(headers: &HeaderMap, now: SystemTime) -> Strong<'_> {
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let tag = single(headers, ETAG).and_then(|tag| Tag::parse(tag.as_bytes()));
    Strong {
        tag: tag.filter(|(tag, behind)| !tag.weak && behind.is_empty()).map(|(tag, _)| tag.text),
        modified: date(headers, LAST_MODIFIED).filter(|modified| *modified < second),
    }
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
        let mut head = ResponseHead::new(StatusCode::OK, headers);
        let bytes = choose(&request, &mut head, 10);
        (head.status.as_u16(), bytes)
    }

    #[test]
    fn a_range_applies_to_a_get_unless_the_app_knows_better() {
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
