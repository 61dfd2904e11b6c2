//! What one worker needs for all requests.

use std::cell::Cell;
use std::sync::Arc;

use magnus::Value;
use push_core::Server;

use crate::rack::env_template::Templates;
use crate::support::settings::Own;
use crate::support::workers::{Streaming, Workers};

/// The server as a worker sees it. It lives on the worker's stack.
pub struct WorkerContext<'a> {
    pub app: Value,
    pub templates: &'a Templates,
    pub own: &'a Own,
    pub workers: &'a Arc<Workers>,
    /// The body that the worker streams. It is not on the stack of the request, so that it ends even if something jumps
    /// over the request's frames.
    pub streaming: Cell<Option<Streaming>>,
    pub server: &'a Server,
}
