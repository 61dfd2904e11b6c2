//! What a worker is given to do.

use std::sync::Arc;

use crate::http::Request;
use crate::push::Client;
use crate::tally::Mark;

/// Something for a worker to do.
#[derive(Debug)]
pub enum Job {
    /// Call the app. The mark keeps a drain waiting until it is dropped.
    Request(Box<Request>, Mark),
    /// Run a client's events: begin a [`crate::push::Turn`].
    Callbacks(Arc<Client>),
}

/// What a worker's call for work came to.
#[derive(Debug)]
pub enum Next {
    /// A job.
    Job(Job),
    /// Somebody wants the thread back: see [`super::Seat::interrupt`].
    Interrupted,
    /// The server has stopped: there will be no more.
    Stopped,
}
