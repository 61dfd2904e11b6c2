//! Channel messages on their way from the log to those who wait for them.
//!
//! A publisher rings the bell, once for all that is published until somebody looks: that costs at
//! most one wake of the reactor. The server's delivery, a task of the reactor, takes the messages
//! over and wakes the readers that want them, without leaving the thread. Streams read by
//! themselves; for subscriptions whose messages go to Ruby, it posts to the clients' mailboxes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use super::{Context, Event};
use crate::base::lock::Lock;
use crate::base::timers::Alarm;
use crate::base::wakeups::{RemoteWaker, Wakeups};
use crate::channel::{Channels, Limits, Local, Wake};

/// How often old messages are looked for, while there are any.
const SWEEP: Duration = Duration::from_secs(1);

/// The channels of a process, and the bell by which its servers hear of messages. It exists
/// without a server, and before.
#[derive(Debug, Clone)]
pub struct PubSub {
    channels: Arc<Channels>,
    bell: Arc<Bell>,
}

impl Default for PubSub {
    /// Channels of this process alone, with the default bounds.
    fn default() -> Self {
        let bell: Arc<Bell> = Arc::default();
        let engine = Arc::new(Local::new(Arc::clone(&bell) as Arc<dyn Wake>));
        PubSub { channels: Channels::new(Limits::default(), engine, None), bell }
    }
}

impl PubSub {
    /// The channels.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }
}

/// Rung by publishers. Usually one server hears it.
#[derive(Debug, Default)]
struct Bell(Lock<Vec<Arc<Notifier>>>);

impl Bell {
    fn couriers(&self) -> MutexGuard<'_, Vec<Arc<Notifier>>> {
        self.0.lock()
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.couriers().iter().for_each(|notifier| notifier.call());
    }
}

/// A server's delivery, as other threads see it.
#[derive(Debug)]
pub struct Notifier {
    task: RemoteWaker,
    /// Clients with messages for Ruby, each with the number of its subscription.
    calls: Lock<Vec<(u64, u64)>>,
}

impl Notifier {
    /// The notifier of a server that does not run yet.
    pub fn new(wakeups: Arc<Wakeups>) -> Arc<Self> {
        Arc::new(Notifier { task: RemoteWaker::new(wakeups), calls: Lock::default() })
    }

    fn call(&self) {
        self.task.wake();
    }

    /// Has a subscription's messages announced in its client's mailbox. That is not done at once:
    /// who calls this holds the log's lock.
    pub(super) fn announce(&self, client: u64, subscription: u64) {
        self.calls.lock().push((client, subscription));
        self.call();
    }

    fn take_calls(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.calls.lock())
    }
}

/// The task. Spawn it on the reactor; it ends with that.
pub struct Delivery {
    context: Arc<Context>,
    alarm: Alarm,
    sweep_at: Option<Instant>,
}

impl Delivery {
    /// The delivery of a server: from now on it hears the bell.
    pub fn new(context: Arc<Context>) -> Self {
        context.pubsub.bell.couriers().push(Arc::clone(&context.notifier));
        let alarm = context.base.timers.alarm();
        Delivery { context, alarm, sweep_at: None }
    }

    fn sweep(&mut self, cx: &TaskContext<'_>) {
        let (channels, now) = (&self.context.pubsub.channels, self.context.base.timers.now());
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            channels.sweep(now);
        }
        if self.sweep_at.is_none() && !channels.is_idle() {
            self.sweep_at = Some(now + SWEEP);
        }
        if let Some(at) = self.sweep_at {
            self.alarm.set(at, cx.waker());
        }
    }
}

impl Future for Delivery {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        // Before it looks: whatever is published from now on calls again.
        self.context.notifier.task.register(cx.waker());
        self.context.pubsub.channels.deliver();
        for (client, subscription) in self.context.notifier.take_calls() {
            if let Some(client) = self.context.clients.get(client) {
                client.post(Event::Published(subscription));
            }
        }
        self.sweep(cx);
        Poll::Pending
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.context.base.owner.forked() {
            let own = &self.context.notifier;
            self.context.pubsub.bell.couriers().retain(|notifier| !Arc::ptr_eq(notifier, own));
        }
    }
}
