//! Waiting in a task of the reactor. The time is not rounded up to a tick, unlike that of an alarm. So each wait may cost a wake-up
//! of its own: for what happens seldom.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Alarm, Timers};

/// A wait for a moment, while [`Timers::run`] runs.
#[derive(Debug)]
pub struct Sleep {
    alarm: Alarm,
    until: Instant,
    /// The task that will be woken.
    task: Option<Waker>,
}

impl Timers {
    /// Waits for this time, from now on.
    pub fn sleep(self: &Arc<Self>, time: Duration) -> Sleep {
        self.sleep_until(Instant::now() + time)
    }

    /// Waits until this moment.
    pub fn sleep_until(self: &Arc<Self>, until: Instant) -> Sleep {
        Sleep { alarm: self.alarm(), until, task: None }
    }

    /// Waits for `work`, and returns its output. `None` if it takes longer than `time`: then it is dropped.
    pub async fn timeout<F: Future>(self: &Arc<Self>, time: Duration, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = work => Some(output),
            () = self.sleep(time) => None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if Instant::now() >= this.until {
            return Poll::Ready(());
        }
        if !this.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            this.alarm.set_exactly(this.until, cx.waker());
            this.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
