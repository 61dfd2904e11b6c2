//! What all connections of a server share.

use std::sync::Arc;

use super::request::Dispatch;
use super::{budget, files, origin};
use crate::access_log::AccessLog;
use crate::net::TrustedProxies;
use crate::net::h2_received::Received;
use crate::{base, push};

/// What all connections of a server share.
pub struct Context {
    /// What all parts of the server share.
    pub base: Arc<base::Context>,
    /// What push connections share.
    pub push: Arc<push::Context>,
    /// The access log; `None` if requests are not logged.
    pub access_log: Option<AccessLog>,
    /// Gives requests to the app threads.
    pub dispatch: Arc<dyn Dispatch>,
    /// Origins whose pages may open a WebSocket, besides the server's own.
    pub origins: origin::Allowed,
    /// Static files, which are served without calling the app.
    pub files: Option<files::PublicDir>,
    /// How many bytes of request bodies may be in temporary files.
    pub budget: Arc<budget::Budget>,
    /// Proxies in front of the server, which tell the client's address.
    pub trusted_proxies: TrustedProxies,
    /// Connections of these proxies begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The query parameter that makes an event stream a long poll; `None` if there are no long polls.
    pub poll_parameter: Option<String>,
    /// Whether connections may speak HTTP/2.
    pub http2: bool,
    /// Whether they may open WebSockets by it.
    pub http2_websocket: bool,
    /// What the streams of all connections have received and not read.
    pub h2_received: Arc<Received>,
}
