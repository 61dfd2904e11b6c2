//! The queue of jobs between the reactor and the app threads.

use std::collections::VecDeque;
use std::time::Instant;

use super::job::Job;

/// Jobs in the order of their arrival.
///
/// Requests are bounded, by [`crate::Limits::max_queue`]. Callbacks need no bound, as each client is queued at most once.
#[derive(Debug, Default)]
pub(super) struct JobQueue {
    jobs: VecDeque<QueuedJob>,
    /// How many of the jobs are requests.
    requests: usize,
    /// How many jobs were taken by app threads, ever.
    taken: u64,
}

#[derive(Debug)]
pub(super) struct QueuedJob {
    pub(super) job: Job,
    pub(super) since: Instant,
}

impl JobQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many requests wait.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// How many jobs were taken by app threads, ever. If this does not change while jobs wait, all app threads are busy.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn push(&mut self, job: Job, since: Instant) {
        self.requests += usize::from(is_request(&job));
        self.jobs.push_back(QueuedJob { job, since });
    }

    /// Takes the oldest job, for an app thread.
    pub(super) fn pop(&mut self) -> Option<QueuedJob> {
        let queued = self.jobs.pop_front()?;
        self.requests -= usize::from(is_request(&queued.job));
        self.taken += 1;
        Some(queued)
    }

    /// Removes all requests, for which there is no app thread. Callbacks stay.
    pub(super) fn remove_requests(&mut self) -> VecDeque<QueuedJob> {
        let all = std::mem::take(&mut self.jobs).into_iter();
        let (requests, callbacks) = all.partition(|queued| is_request(&queued.job));
        self.jobs = callbacks;
        self.requests = 0;
        requests
    }
}

fn is_request(job: &Job) -> bool {
    matches!(job, Job::Request(..))
}
