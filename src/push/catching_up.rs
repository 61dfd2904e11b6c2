//! Clients whose cursor lies ahead of this process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::{Context, poll};
use crate::base::timers::Sleep;
use crate::channel::{CATCH_UP, CatchUp};

/// A wait until this process has caught up with a client's cursor, or knows that it never will, at most for [`CATCH_UP`].
/// For tasks of the reactor.
///
/// After a restart of its worker, a client comes to another one, which may be some messages behind. If the app was asked
/// now, the client would be told of a gap.
pub struct CatchingUp {
    context: Arc<Context>,
    catch_up: CatchUp,
    sleep: Sleep,
    /// See [`super::delivery::Notifier::await_events`].
    number: Option<u64>,
}

impl CatchingUp {
    /// The wait of a client with this id of its last event. `None` if it need not wait. Inside the runtime.
    pub fn begin(context: &Arc<Context>, last_event_id: Option<&str>) -> Option<Self> {
        let catch_up = context.pubsub.channels().catch_up(poll::since(last_event_id))?;
        let sleep = context.base.timers.sleep(CATCH_UP);
        Some(CatchingUp { context: Arc::clone(context), catch_up, sleep, number: None })
    }
}

impl Future for CatchingUp {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        // Before it looks: what comes from now on wakes the task.
        this.number = Some(this.context.notifier.await_events(this.number, cx.waker()));
        if this.context.pubsub.channels().is_behind(&this.catch_up) {
            Pin::new(&mut this.sleep).poll(cx)
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for CatchingUp {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.context.notifier.ignore_events(number);
        }
    }
}
