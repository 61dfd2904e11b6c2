//! What the calls of the app on one worker have in common.

use std::cell::Cell;
use std::sync::Arc;

use magnus::Value;
use push_core::Server;

use crate::rack::env_template::Templates;
use crate::support::settings::Own;
use crate::support::workers::{Streaming, Workers};

/// What the requests of a server need. One for each worker, on its stack.
pub struct WorkerContext<'a> {
    pub app: Value,
    pub templates: &'a Templates,
    pub own: &'a Own,
    pub workers: &'a Arc<Workers>,
    /// The body that the worker streams. Here, and not on the stack of the request, so that it ends however the request
    /// ends.
    pub streaming: Cell<Option<Streaming>>,
    pub server: &'a Server,
}
