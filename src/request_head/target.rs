//! What a request is for: path, query, and perhaps scheme and authority (RFC 9112 section 3.2).

use http::Uri;

/// Where the parts of a target are. Each one ends where the next one begins, except that a `?` is before the query.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Target {
    /// The scheme with its `://`; empty unless the target is in absolute form.
    pub(super) scheme: u32,
    /// Empty in origin form, and if the target is an asterisk.
    pub(super) authority: u32,
    /// Empty in authority form.
    pub(super) path: u32,
    /// Where the path ends. If the target goes on, there is a query.
    pub(super) path_end: u32,
    pub(super) end: u32,
}

impl Target {
    /// `text`, which begins at `at`, if it is a usual path with or without a query. `None` says nothing about `text`: it may
    /// be another form of target, have characters that must be looked at more closely, or be refused.
    pub(super) fn plain(text: &[u8], at: u32) -> Option<Self> {
        if text.first() != Some(&b'/') || !text.iter().all(|byte| is_plain(*byte)) {
            return None;
        }
        let path_end = at + memchr::memchr(b'?', text).unwrap_or(text.len()) as u32;
        Some(Target { scheme: at, authority: at, path: at, path_end, end: at + text.len() as u32 })
    }

    /// Appends `uri` to `bytes`.
    pub(super) fn put(uri: &Uri, bytes: &mut Vec<u8>) -> Self {
        let scheme = bytes.len() as u32;
        if let Some(scheme) = uri.scheme_str() {
            bytes.extend_from_slice(scheme.as_bytes());
            bytes.extend_from_slice(b"://");
        }
        let authority = bytes.len() as u32;
        if let Some(authority) = uri.authority() {
            bytes.extend_from_slice(authority.as_str().as_bytes());
        }
        let path = bytes.len() as u32;
        bytes.extend_from_slice(uri.path().as_bytes());
        let path_end = bytes.len() as u32;
        if let Some(query) = uri.query() {
            bytes.push(b'?');
            bytes.extend_from_slice(query.as_bytes());
        }
        Target { scheme, authority, path, path_end, end: bytes.len() as u32 }
    }
}

/// What `http::Uri` accepts in a path and in a query as well.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`')
}
