//! The methods that the server knows.

/// A request's method. Methods are case-sensitive (RFC 9110 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Query,
    Connect,
    /// One that only the app may know. The head has its name.
    Other,
}

impl Method {
    /// The method of that name.
    pub fn named(name: &[u8]) -> Self {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"QUERY" => Method::Query,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }
    }
}
