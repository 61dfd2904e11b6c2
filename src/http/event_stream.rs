//! The headers of event streams.

use super::response_headers::ResponseHeaders;

/// What nginx and its like read: a proxy must not collect a response before it passes it on.
const ACCEL_BUFFERING: &str = "x-accel-buffering";

/// The headers of a response whose body is a piece of an event stream. `app` has the headers of the app's response: its
/// Cache-Control stays in force.
pub(super) fn headers(app: &ResponseHeaders) -> ResponseHeaders {
    let mut headers = ResponseHeaders::new();
    headers.append("content-type", "text/event-stream; charset=utf-8");
    if !app.contains("cache-control") {
        headers.append("cache-control", "no-cache, no-store");
    }
    headers
}

/// The headers of an event stream without an end: those of [`headers`], and what keeps proxies from collecting it.
pub(super) fn stream_headers(app: &ResponseHeaders) -> ResponseHeaders {
    let mut headers = headers(app);
    if !app.contains(ACCEL_BUFFERING) {
        headers.append(ACCEL_BUFFERING, "no");
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_stream_leave_the_apps_own_in_force() {
        let names = |headers: ResponseHeaders| headers.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        let mut app = ResponseHeaders::new();
        assert_eq!(names(headers(&app)), ["content-type", "cache-control"]);
        assert_eq!(names(stream_headers(&app)), ["content-type", "cache-control", "x-accel-buffering"]);
        app.append("cache-control", "private");
        app.append(ACCEL_BUFFERING, "yes");
        assert_eq!(names(stream_headers(&app)), ["content-type"]);
    }
}
