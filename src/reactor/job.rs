//! What an app thread is given to do.

use std::sync::Arc;

use crate::base::in_flight::InFlightGuard;
use crate::http::Request;
use crate::push::Client;

/// Something for an app thread to do.
#[derive(Debug)]
pub enum Job {
    /// Call the app. The guard keeps a drain waiting until it is dropped.
    Request(Box<Request>, InFlightGuard),
    /// Run a client's events: begin a [`crate::push::Turn`].
    Callbacks(Arc<Client>),
}

/// What an app thread got when it asked for a job.
#[derive(Debug)]
pub enum Next {
    /// A job.
    Job(Job),
    /// The thread is wanted for something else: see [`super::AppThreadHandle::interrupt`].
    Interrupted,
    /// The server has stopped: there will be no more jobs.
    Stopped,
}
