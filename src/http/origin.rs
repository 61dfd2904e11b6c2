//! Which web pages may open a WebSocket. Browsers send cookies with the handshake of any page (RFC 6455 section 10.2).
//! So a foreign page must be refused before the app is called.

use http::uri::Uri;
use thiserror::Error;

/// A text that is not an origin.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("allowed origin {0:?} is not a URL like https://example.com, nor *")]
pub struct BadOrigin(String);

/// Origins that are allowed besides the server's own.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    any: bool,
    origins: Vec<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

fn parse(text: &str) -> Option<Origin> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority().filter(|it| !it.as_str().contains('@'))?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return None;
    }
    let port = explicit_port(&scheme, authority.port_u16());
    Some(Origin { host: authority.host().to_ascii_lowercase(), port, scheme })
}

/// The port; `None` if it is the default port of the scheme.
fn explicit_port(scheme: &str, port: Option<u16>) -> Option<u16> {
    let implied = if scheme == "https" { 443 } else { 80 };
    port.filter(|port| *port != implied)
}

impl Allowed {
    /// Parses the option `allowed_origins`: URLs, or `*` for every origin.
    pub fn parse<'a>(allowed: impl IntoIterator<Item = &'a str>) -> Result<Self, BadOrigin> {
        let mut result = Allowed::default();
        for text in allowed {
            match text {
                "*" => result.any = true,
                url => result.origins.push(parse(url).ok_or_else(|| BadOrigin(url.to_owned()))?),
            }
        }
        Ok(result)
    }

    /// Whether a page from `origin` may open a WebSocket to `host` (the request's Host).
    ///
    /// The port counts: another port of the same host is another origin, although browsers send it the same cookies.
    /// The scheme does not count, because a server behind a proxy does not know its own.
    pub fn permits(&self, origin: &str, host: Option<&str>) -> bool {
        if self.any {
            return true;
        }
        let Some(origin) = parse(origin) else { return false };
        let own = host.and_then(|host| host.parse::<http::uri::Authority>().ok()).is_some_and(|host| {
            host.host().eq_ignore_ascii_case(&origin.host)
                && explicit_port(&origin.scheme, host.port_u16()) == origin.port
        });
        own || self.origins.contains(&origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_pages_and_allowed_ones() {
        let none = Allowed::default();
        assert!(none.permits("http://localhost:9292", Some("localhost:9292")));
        assert!(none.permits("https://Example.com", Some("example.com")));
        assert!(none.permits("https://example.com", Some("example.com:443")));
        assert!(none.permits("http://[::1]:9292", Some("[::1]:9292")));
        assert!(!none.permits("http://localhost:3000", Some("localhost:9292")));
        assert!(!none.permits("https://evil.com", Some("example.com")));
        assert!(!none.permits("https://example.com.evil.com", Some("example.com")));
        assert!(!none.permits("null", Some("example.com")));
        assert!(!none.permits("https://example.com", None));

        let some = Allowed::parse(["https://app.example.com/", "http://localhost:3000"]).unwrap();
        assert!(some.permits("https://app.example.com", Some("push.example.com")));
        assert!(some.permits("http://localhost:3000", Some("localhost:9292")));
        assert!(!some.permits("http://app.example.com", Some("push.example.com")));
        assert!(Allowed::parse(["*"]).unwrap().permits("null", Some("a")));
    }

    #[test]
    fn an_invalid_origin_is_an_error() {
        for bad in ["example.com", "https://", "https://a/b", "https://a?b", ""] {
            assert_eq!(Allowed::parse([bad]).unwrap_err(), BadOrigin(bad.to_owned()));
        }
    }
}
