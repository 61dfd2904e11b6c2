//! Numbers that others count, and how they get into the statistics.
//!
//! Whoever reads the statistics of a process from outside cannot ask how much its queues and channels hold. So a task of the
//! reactor looks once a second, as long as something changes, and then not before the reactor has something to do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::stats::Stats;
use crate::base::timers::Alarm;
use crate::channel::Figures;
use crate::http;

/// How often the task looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The numbers at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gauges {
    queued: u64,
    spooled: u64,
    channels: Figures,
}

impl Gauges {
    /// The numbers now. Not in a forked child.
    pub(super) fn of(context: &http::Context) -> Self {
        Gauges {
            queued: context.push.pressure.queued() as u64,
            spooled: context.budget.used(),
            channels: context.push.pubsub.channels().figures(),
        }
    }

    /// Stores them.
    pub(super) fn store(&self, stats: &Stats) {
        stats.queued_bytes.set(self.queued);
        stats.spooled_bytes.set(self.spooled);
        // The channels of a worker count in these very statistics.
        stats.published.at_least(self.channels.published);
        stats.channel_bytes.set(self.channels.bytes);
        stats.channels.set(self.channels.channels);
        stats.readers.set(self.channels.readers);
    }
}

/// The task. Spawn it on the reactor; it ends with that.
pub(super) struct Gauging {
    context: Arc<http::Context>,
    alarm: Alarm,
    /// What it has stored last.
    last: Option<Gauges>,
    /// The last look was the first one after the reactor had nothing to do.
    began: bool,
}

impl Gauging {
    pub(super) fn new(context: Arc<http::Context>) -> Self {
        let alarm = context.base.timers.alarm();
        Gauging { context, alarm, last: None, began: false }
    }
}

impl Future for Gauging {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let gauges = Gauges::of(&self.context);
        let changed = self.last.replace(gauges) != Some(gauges);
        if changed {
            gauges.store(&self.context.base.stats);
        }
        // What has woken it may change something in a moment.
        self.began = changed || !self.began;
        if self.began {
            let next = self.context.base.timers.now() + INTERVAL;
            self.alarm.set(next, cx.waker());
        } else {
            self.context.base.timers.wake_in_next_turn(cx.waker());
        }
        Poll::Pending
    }
}
