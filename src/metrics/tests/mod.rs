//! The formats, what is answered to which request, and connections over sockets.

mod formats;
mod requests;
mod serving;

use super::{Figures, WorkerFigures};
use crate::base::stats::Stats;

/// The figures of a server whose two workers, and one that has ended, have counted something.
fn figures() -> Option<Figures> {
    let sum = Stats::default();
    let worker = |number, process, open| {
        let stats = Stats::default();
        stats.requests.add_many(10);
        stats.open_connections.set(open);
        sum.merge(&stats, true);
        WorkerFigures { number, process, pid: 100 + process, stats }
    };
    // Worker 1 is being replaced.
    let workers = vec![worker(1, 3, 5), worker(2, 4, 7), worker(1, 5, 1)];
    sum.requests.add_many(70);
    sum.bytes_in.add_many(1234);
    sum.queue_microseconds.add_many(2_500_000);
    sum.largest_batch.at_least(9);
    sum.request_time_2xx.observe(100);
    sum.request_time_2xx.observe(30_000_000);
    sum.request_time_5xx.observe(2_000);
    Some(Figures { sum, workers: Some(workers) })
}
