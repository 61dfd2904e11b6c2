//! What the tests in the files of this folder share.

use std::sync::Arc;

use super::{Context, Dispatch, Request, budget, origin};
use crate::base::{self, limits::Limits};
use crate::engine::Local;
use crate::net::TrustedProxies;
use crate::net::h2_received::Received;
use crate::push::{self, Callbacks, Client};

/// No app thread takes anything.
struct NoThreads;

impl Dispatch for NoThreads {
    fn dispatch(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        Err(request)
    }
}

impl Callbacks for NoThreads {
    fn ready(&self, _client: Arc<Client>) {}
}

/// The context of a server without app threads.
pub(super) fn context() -> Arc<Context> {
    let base = Arc::new(base::Context::new(Limits::default()));
    Arc::new(Context {
        push: Arc::new(push::Context::new(Arc::clone(&base), Arc::new(NoThreads), push::PubSub::new(Local::shared))),
        access_log: None,
        dispatch: Arc::new(NoThreads),
        origins: origin::Allowed::default(),
        files: None,
        budget: budget::Budget::new(u64::MAX),
        trusted_proxies: TrustedProxies::default(),
        proxy_protocol: false,
        poll_parameter: None,
        http2: true,
        http2_websocket: true,
        h2_received: Received::new(usize::MAX),
        base,
    })
}
