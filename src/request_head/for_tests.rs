//! Heads for the tests of all modules.

use http::HeaderValue;

use super::RequestHead;

/// A request of HTTP/1.1 with these fields.
pub(crate) fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> RequestHead {
    let request = http::Request::builder().method(method).uri(target);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    RequestHead::from_parts(request.body(()).unwrap().into_parts().0)
}

/// A request with these fields, whose values may have any bytes. `None`: one of them is no value.
pub(crate) fn head_with<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<RequestHead> {
    let mut request = http::Request::builder();
    for (name, value) in fields {
        request = request.header(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(RequestHead::from_parts(request.body(()).unwrap().into_parts().0))
}
