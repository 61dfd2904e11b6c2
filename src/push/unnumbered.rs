//! Holding back what a client may get only after messages of the app have their numbers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use super::Context;
use crate::base::log_throttle::LogThrottle;
use crate::base::timers::Sleep;

/// A wait for the messages that a thread has published, at most for `publish_timeout`. For tasks of the reactor.
///
/// A client that has got a response may publish, too, or ask another process for what the request has published. So the
/// response must not come before the messages have their numbers.
pub struct Unnumbered {
    context: Arc<Context>,
    submission: u64,
    deadline: Instant,
    /// Since the first poll that had to wait.
    waiting: Option<Waiting>,
}

struct Waiting {
    /// See [`super::delivery::Notifier::await_settled`].
    number: u64,
    sleep: Sleep,
}

impl Unnumbered {
    /// A wait for what this thread has published since the last call, if some of it has no number yet. With an engine
    /// that numbers at once this costs next to nothing.
    pub fn take(context: &Arc<Context>) -> Option<Box<Self>> {
        let channels = context.pubsub.channels();
        let submission = channels.take_unnumbered()?;
        let deadline = Instant::now() + channels.limits().publish_timeout;
        Some(Box::new(Unnumbered { context: Arc::clone(context), submission, deadline, waiting: None }))
    }

    fn is_settled(&self) -> bool {
        self.context.pubsub.channels().is_settled(self.submission)
    }

    fn warn() {
        static SELDOM: LogThrottle = LogThrottle::once_a_minute();
        if let Some(held_back) = SELDOM.allows() {
            log::warn!(
                "a response was sent before the messages that its request has published have their places: the hub has \
                 not answered within publish_timeout{held_back}"
            );
        }
    }
}

impl Future for Unnumbered {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.waiting.is_none() {
            let number = this.context.notifier.await_settled(this.submission, cx.waker());
            let sleep = this.context.base.timers.sleep_until(this.deadline);
            this.waiting = Some(Waiting { number, sleep });
        }
        if this.is_settled() {
            return Poll::Ready(());
        }
        let timed_out = this.waiting.as_mut().is_some_and(|waiting| Pin::new(&mut waiting.sleep).poll(cx).is_ready());
        if timed_out {
            Unnumbered::warn();
        }
        if timed_out { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Unnumbered {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            self.context.notifier.give_up(self.submission, waiting.number);
        }
    }
}

impl std::fmt::Debug for Unnumbered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unnumbered").field("submission", &self.submission).finish_non_exhaustive()
    }
}
