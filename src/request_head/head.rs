//! The head: bytes, and where in them its parts are.

use http::Version;

use super::fields::{self, Span};
use super::method::Method;
use super::target::Target;

/// Request line and header fields.
///
/// Fields with the same name follow each other. Names are in lower case. Values have no blanks around them, and may have any
/// bytes except control characters.
#[derive(Clone)]
pub struct RequestHead {
    /// The text that everything below refers to, and behind it the spans of the fields: one allocation is enough for both.
    pub(super) bytes: Vec<u8>,
    /// Where the spans begin.
    pub(super) spans: u32,
    /// See [`fields::bit`].
    pub(super) names: u64,
    /// The text begins with the name of the method. This is its length.
    pub(super) method_length: u32,
    pub(super) target: Target,
    /// From where to where the lines of the fields are, as they came.
    pub(super) block: Option<(u32, u32)>,
    pub(super) method: Method,
    pub(super) version: Version,
}

impl RequestHead {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method's name.
    pub fn method_name(&self) -> &str {
        self.text(0, self.method_length)
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target, as it came. But a scheme is in lower case, and the path after an authority is not empty.
    pub fn target(&self) -> &[u8] {
        self.part(self.target.scheme, self.target.end)
    }

    /// Whether the target has a scheme: it is in absolute form.
    pub fn has_scheme(&self) -> bool {
        self.target.scheme < self.target.authority
    }

    /// The target's host, and perhaps port, if it is in absolute form or in authority form.
    pub fn authority(&self) -> Option<&str> {
        let Target { authority, path, .. } = self.target;
        (authority < path).then(|| self.text(authority, path))
    }

    /// The target's path: `*` if the target is an asterisk, empty if it is in authority form. It may have characters that are
    /// not ASCII.
    pub fn path(&self) -> &str {
        self.text(self.target.path, self.target.path_end)
    }

    /// As [`RequestHead::path`], which takes a little longer.
    pub fn path_bytes(&self) -> &[u8] {
        self.part(self.target.path, self.target.path_end)
    }

    /// The target's query, which may be empty. It may have characters that are not ASCII.
    pub fn query(&self) -> Option<&str> {
        let Target { path_end, end, .. } = self.target;
        (path_end < end).then(|| self.text(path_end + 1, end))
    }

    /// As [`RequestHead::query`], which takes a little longer.
    pub fn query_bytes(&self) -> Option<&[u8]> {
        let Target { path_end, end, .. } = self.target;
        (path_end < end).then(|| self.part(path_end + 1, end))
    }

    /// The names and values of all fields.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        fields::spans(&self.bytes, self.spans).map(|span| (span.name(&self.bytes), span.value(&self.bytes)))
    }

    /// The values of the fields with this name, which is in lower case.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let spans = self.may_have(name).then(|| fields::named(&self.bytes, self.spans, name.as_bytes()));
        spans.into_iter().flatten().map(|span| span.value(&self.bytes))
    }

    /// The value of the first field with this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        if !self.may_have(name) {
            return None;
        }
        fields::named(&self.bytes, self.spans, name.as_bytes()).next().map(|span| span.value(&self.bytes))
    }

    /// Whether there is a field with this name, which is in lower case.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The lines of the fields as they came, but names in lower case: two heads with the same bytes here have the same fields.
    /// `None` if they are not known, because the head did not come as text, or was changed.
    pub fn header_block(&self) -> Option<&[u8]> {
        self.block.map(|(from, to)| self.part(from, to))
    }

    /// Removes the fields with this name, which is in lower case.
    pub fn remove(&mut self, name: &str) {
        if self.contains(name) {
            let mut spans = self.take_spans();
            spans.retain(|span| span.name(&self.bytes) != name.as_bytes());
            self.put_spans(&spans);
        }
    }

    /// Puts one field in the place of those with this name, which is in lower case. The value has no control characters.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let mut lines = self.get_all(name);
        if lines.next() == Some(value) && lines.next().is_none() {
            return;
        }
        drop(lines);
        let mut spans = self.take_spans();
        let place = spans.iter().position(|span| span.name(&self.bytes) == name.as_bytes());
        spans.retain(|span| span.name(&self.bytes) != name.as_bytes());
        let field = Span::put(name.as_bytes(), value, &mut self.bytes);
        spans.insert(place.unwrap_or(spans.len()), field);
        self.put_spans(&spans);
    }

    fn may_have(&self, name: &str) -> bool {
        self.names & fields::bit(name.as_bytes()) != 0
    }

    fn take_spans(&mut self) -> Vec<Span> {
        let spans = fields::spans(&self.bytes, self.spans).collect();
        self.bytes.truncate(self.spans as usize);
        spans
    }

    fn put_spans(&mut self, spans: &[Span]) {
        self.spans = self.bytes.len() as u32;
        self.names = spans.iter().fold(0, |names, span| names | fields::bit(span.name(&self.bytes)));
        fields::put(&mut self.bytes, spans);
        self.block = None;
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        self.bytes.get(from as usize..to as usize).unwrap_or_default()
    }

    /// A part that was checked to be UTF-8 when the head was made.
    fn text(&self, from: u32, to: u32) -> &str {
        std::str::from_utf8(self.part(from, to)).unwrap_or_default()
    }
}

impl std::fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.method_name(), self.target().escape_ascii(), self.version)?;
        self.fields().try_for_each(|(name, value)| write!(f, "; {}: {}", name.escape_ascii(), value.escape_ascii()))
    }
}
