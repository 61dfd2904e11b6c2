//! What all connections of a server share.

use std::sync::Arc;

use super::request::Dispatch;
use super::{budget, files, origin};
use crate::access_log::AccessLog;
use crate::{base, push};

/// What all connections of a server share.
pub struct Context {
    /// What all parts of the server share.
    pub base: Arc<base::Context>,
    /// What push connections share.
    pub push: Arc<push::Context>,
    /// Where requests are logged; `None` is nowhere.
    pub access_log: Option<AccessLog>,
    /// The workers.
    pub dispatch: Arc<dyn Dispatch>,
    /// Pages that may open a WebSocket beside the server's own.
    pub origins: origin::Allowed,
    /// Files served before the app is asked.
    pub files: Option<files::PublicDir>,
    /// What request bodies may take of the temporary folder.
    pub budget: Arc<budget::Budget>,
    /// The parameter of a query that makes an event stream a long poll; `None`: there are none.
    pub poll_parameter: Option<String>,
}
