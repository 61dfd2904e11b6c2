//! What one app thread needs for all requests.

use std::cell::Cell;
use std::sync::Arc;

use magnus::Value;
use magnus::typed_data::Obj;
use push_core::Server;

use crate::rack::env_template::Templates;
use crate::ruby::answer::Answer;
use crate::support::app_threads::{AppThreads, Streaming};
use crate::support::settings::Own;

/// The server as an app thread sees it. It lives on the app thread's stack.
pub struct ThreadContext<'a> {
    pub app: Value,
    pub templates: &'a Templates,
    pub own: &'a Own,
    pub app_threads: &'a Arc<AppThreads>,
    /// The body that the app thread streams. It is not on the stack of the request, so that it ends even if something jumps
    /// over the request's frames.
    pub streaming: Cell<Option<Streaming>>,
    /// The answer to the request that the app thread serves: not on the stack of the request either.
    pub answer: Cell<Option<Obj<Answer>>>,
    pub server: &'a Server,
}
