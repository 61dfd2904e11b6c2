//! Range requests for a file that an app sends (`to_path`). The rules are those of static files, but the validators are the
//! app's headers.

use std::fs::File;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

use super::conditional::{Strong, Tag, parse_date, range_applies};
use super::range::{self, Requested};
use crate::http::body::Body;
use crate::http::file_body::FileBody;
use crate::http::head::ResponseHead;
use crate::http::headers::visible;
use crate::http::response::Response;
use crate::http::response_headers::ResponseHeaders;
use crate::request_head::{Method, RequestHead};

/// Headers that describe the file, and so belong to a 200 but not to a 416.
const OF_THE_FILE: [&str; 9] = [
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-length",
    "content-type",
    "etag",
    "expires",
    "last-modified",
];

/// Lets `response` send a file of `length` bytes, or the part of it that `request` asks for. A Content-Length of the app
/// does not matter.
pub fn send_file(mut response: Response, file: File, length: u64, request: &RequestHead) -> Response {
    let chosen = choose(request, &mut response.head, length);
    response.head.headers.remove("content-length");
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
fn choose(request: &RequestHead, head: &mut ResponseHead, length: u64) -> Option<Range<u64>> {
    let ResponseHead { status, headers, .. } = head;
    let asks = matches!(request.method(), Method::Get | Method::Head);
    let refuses = headers.get("accept-ranges").is_some_and(|value| !value.eq_ignore_ascii_case(b"bytes"));
    let knows_better = refuses || headers.contains("content-range") || headers.contains("content-encoding");
    if !asks || *status != StatusCode::OK || knows_better {
        return Some(0..length);
    }
    headers.set("accept-ranges", "bytes");
    // RFC 9110 section 14.2: Range means nothing with any method but GET.
    if request.method() != Method::Get || !range_applies(request, &strong(headers, SystemTime::now())) {
        return Some(0..length);
    }
    match range::requested(request, length) {
        Requested::Whole => Some(0..length),
        Requested::Part(bytes) => {
            headers.set("content-range", range::content_range(&bytes, length)?);
            *status = StatusCode::PARTIAL_CONTENT;
            Some(bytes)
        }
        Requested::Unsatisfiable => {
            OF_THE_FILE.iter().for_each(|name| headers.remove(name));
            headers.set("content-range", range::unsatisfied_range(length));
            *status = StatusCode::RANGE_NOT_SATISFIABLE;
            None
        }
    }
}

/// What an app says by which one version of its file is told from another. A date counts once its second is over:
/// otherwise there may be two versions of it (RFC 9110 section 8.8.2.2).
fn strong(headers: &ResponseHeaders, now: SystemTime) -> Strong<'_> {
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = headers.single("last-modified").and_then(visible).and_then(|text| parse_date(text.trim()));
    let tag = headers.single("etag").and_then(Tag::parse);
    Strong {
        tag: tag.filter(|(tag, behind)| !tag.weak && behind.is_empty()).map(|(tag, _)| tag.text),
        modified: date.filter(|modified| *modified < second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 10 May 2024 10:00:00 GMT";

    fn chosen(
        method: &str,
        asked: &[(&'static str, &'static str)],
        said: &[(&'static str, &'static str)],
    ) -> (u16, Option<Range<u64>>) {
        let request = crate::request_head::for_tests::head(method, "/", asked);
        let mut headers = ResponseHeaders::new();
        for (name, value) in said {
            headers.append(name, value);
        }
        let mut head = ResponseHead::new(StatusCode::OK, headers);
        let bytes = choose(&request, &mut head, 10);
        (head.status.as_u16(), bytes)
    }

    #[test]
    fn a_range_applies_to_a_get_unless_the_app_knows_better() {
        let (range, whole, part) = (("range", "bytes=2-5"), (200, Some(0..10)), (206, Some(2..6)));
        assert_eq!(chosen("GET", &[range], &[]), part);
        assert_eq!(chosen("GET", &[range], &[("accept-ranges", "bytes")]), part);
        assert_eq!(chosen("GET", &[("range", "bytes=10-")], &[]), (416, None));
        for method in ["HEAD", "POST"] {
            assert_eq!(chosen(method, &[range], &[]), whole);
        }
        for said in [("accept-ranges", "none"), ("content-range", "bytes 0-9/20"), ("content-encoding", "gzip")] {
            assert_eq!(chosen("GET", &[range], &[said]), whole, "{said:?}");
        }
    }

    #[test]
    fn if_range_is_compared_with_what_the_app_says() {
        let (strong, weak, dated) = (("etag", "\"a\""), ("etag", "W/\"a\""), ("last-modified", DATE));
        let status = |value, said: &[_]| chosen("GET", &[("range", "bytes=0-1"), ("if-range", value)], said).0;
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
