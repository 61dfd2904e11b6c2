//! The response to a request.

use super::figures::Figures;
use super::{families, json, negotiation, text};

/// Bytes of a request's head.
const HEAD: usize = 8 << 10;

/// Lines of a request's head.
const HEADERS: usize = 64;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Metrics(text::Format),
    Stats,
}

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadRequest,
    NotFound,
    Method,
    TooLarge,
    Unavailable,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Refusal::BadRequest => "400 Bad Request",
            Refusal::NotFound => "404 Not Found",
            Refusal::Method => "405 Method Not Allowed",
            Refusal::TooLarge => "431 Request Header Fields Too Large",
            Refusal::Unavailable => "503 Service Unavailable",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::BadRequest => "This is not a valid HTTP/1.1 request.\n",
            Refusal::NotFound => "There are /metrics and /stats.\n",
            Refusal::Method => "GET and HEAD are allowed.\n",
            Refusal::TooLarge => "The head of the request is too large.\n",
            Refusal::Unavailable => "The statistics cannot be read: the log says why.\n",
        }
    }
}

/// The whole response to what has come from a client. `None`: the head of the request is not complete.
pub(super) fn answer(received: &[u8], figures: impl FnOnce() -> Option<Figures>) -> Option<Vec<u8>> {
    let (method_is_head, page) = match request(received) {
        Ok(None) => return None,
        Ok(Some(request)) => request,
        Err((method_is_head, refusal)) => return Some(refuse(method_is_head, refusal)),
    };
    let Some(figures) = figures() else { return Some(refuse(method_is_head, Refusal::Unavailable)) };
    let (content_type, body) = match page {
        Page::Metrics(format) => (format.content_type(), text::render(&families::families(&figures), format)),
        Page::Stats => ("application/json", json::render(&figures)),
    };
    // The same path has two forms.
    let vary = if matches!(page, Page::Metrics(_)) { "vary: accept\r\n" } else { "" };
    Some(response("200 OK", content_type, vary, &body, method_is_head))
}

fn refuse(method_is_head: bool, refusal: Refusal) -> Vec<u8> {
    let allow = if refusal == Refusal::Method { "allow: GET, HEAD\r\n" } else { "" };
    response(refusal.status(), "text/plain; charset=utf-8", allow, refusal.text(), method_is_head)
}

fn response(status: &str, content_type: &str, headers: &str, body: &str, method_is_head: bool) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{headers}content-length: {}\r\ncache-control: no-store\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    if !method_is_head {
        response.push_str(body);
    }
    response.into_bytes()
}

/// What a request asks for, and whether its method is HEAD. `None`: its head is not complete.
fn request(received: &[u8]) -> Result<Option<(bool, Page)>, (bool, Refusal)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(&received[..received.len().min(HEAD)]);
    let is_head = request.method == Some("HEAD");
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if received.len() < HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err((is_head, Refusal::TooLarge));
        }
        Err(_) => return Err((is_head, Refusal::BadRequest)),
    }
    let of = |name: &'static str| request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if request.version == Some(1) && of("host").count() != 1 {
        return Err((is_head, Refusal::BadRequest));
    }
    let page = match path(request.path.unwrap_or_default()) {
        "/metrics" => {
            Page::Metrics(negotiation::format(of("accept").filter_map(|header| std::str::from_utf8(header.value).ok())))
        }
        "/stats" => Page::Stats,
        _ => return Err((is_head, Refusal::NotFound)),
    };
    if is_head || request.method == Some("GET") { Ok(Some((is_head, page))) } else { Err((is_head, Refusal::Method)) }
}

/// The path of a target in origin form or absolute form.
fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => target,
    };
    target.split_once('?').map_or(target, |(path, _)| path)
}
