use super::super::answer::answer;
use super::figures;

/// The response, as its head and its body.
fn respond(request: &str) -> Option<(String, String)> {
    let response = String::from_utf8(answer(request.as_bytes(), figures)?).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    Some((head.to_owned(), body.to_owned()))
}

fn status(request: &str) -> String {
    let (head, body) = respond(request).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(request.starts_with("HEAD ") || length == body.len().to_string());
    assert!(head.lines().any(|line| line == "connection: close"));
    head.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn requests_and_their_status() {
    let host = "\r\nHost: localhost\r\n\r\n";
    for (request, expected) in [
        ("GET /metrics HTTP/1.1", "200"),
        ("GET /stats HTTP/1.1", "200"),
        ("GET /metrics?name=requests HTTP/1.1", "200"),
        ("GET http://localhost:9394/metrics HTTP/1.1", "200"),
        ("HEAD /stats HTTP/1.1", "200"),
        ("GET /metrics HTTP/1.0", "200"),
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/ HTTP/1.1", "404"),
        ("GET http://localhost HTTP/1.1", "404"),
        ("POST / HTTP/1.1", "404"),
        ("OPTIONS * HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("DELETE /stats HTTP/1.1", "405"),
        ("get /metrics HTTP/1.1", "405"),
        ("GET /metrics HTTP/2.0", "400"),
        ("GET /metrics", "400"),
        ("GET  /metrics HTTP/1.1", "400"),
        ("\0\0\0", "400"),
        ("\u{16}\u{3}\u{1}", "400"),
    ] {
        assert_eq!(status(&format!("{request}{host}")), expected, "{request:?}");
    }
    assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), "400");
    assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "400");
    assert_eq!(status("GET /metrics HTTP/1.0\r\n\r\n"), "200");
}

#[test]
fn the_answer_comes_as_soon_as_the_head_is_complete() {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for end in 0..request.len() {
        assert_eq!(answer(&request.as_bytes()[..end], figures), None, "{end}");
    }
    assert!(respond(request).is_some());
    assert_eq!(status(&format!("{request}GET / HTTP/1.1")), "200");
}

#[test]
fn a_head_has_a_largest_size() {
    // So long that there are not too many of them.
    let line = format!("x: {}\r\n", "y".repeat(195));
    let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{}", line.repeat(8192 / line.len() + 1));
    assert_eq!(answer(&long.as_bytes()[..8191], figures), None);
    assert_eq!(status(&long[..8192]), "431");
    assert_eq!(status(&format!("{long}\r\n")), "431");
    let many = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "x:\r\n".repeat(64));
    assert_eq!(status(&many), "431");
    assert_eq!(status(&format!("GET /{}", "x".repeat(8192))), "431");
}

#[test]
fn head_has_no_body() {
    let (head, body) = respond("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (same, text) = respond("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!((head, body.as_str()), (same, ""));
    assert!(text.contains("push_server_requests_total 100\n"));
    assert_eq!(respond("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap().1, "");
}

#[test]
fn content_types() {
    let of = |path: &str, accept: &str| {
        let (head, _) = respond(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nACCEPT: {accept}\r\n\r\n")).unwrap();
        head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap().to_owned()
    };
    assert_eq!(of("/metrics", "*/*"), "text/plain; version=0.0.4; charset=utf-8");
    let open_metrics = "application/openmetrics-text; version=1.0.0";
    assert_eq!(of("/metrics", open_metrics), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(of("/stats", open_metrics), "application/json");
    assert_eq!(of("/", "*/*"), "text/plain; charset=utf-8");
    let (head, _) = respond("PUT /stats HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert!(head.contains("\r\nallow: GET, HEAD\r\n"));
}

#[test]
fn without_figures_the_service_is_not_available() {
    let response = answer(b"GET /metrics HTTP/1.0\r\n\r\n", || None).unwrap();
    assert!(response.starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
    assert!(answer(b"GET / HTTP/1.0\r\n\r\n", || None).unwrap().starts_with(b"HTTP/1.1 404 "));
}
