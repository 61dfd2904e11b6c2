//! Channel messages on their way from the log to the readers that wait for them.
//!
//! When the engine has something new, it notifies the servers of the process: once for all that is published until a
//! server looks, so a burst costs at most one wake of the reactor. The server's [`Delivery`], a task of the reactor, takes
//! the messages over, sends them to idle clients ([`super::fan_out`]), and wakes all other readers that want them, without
//! leaving the thread: their streams read by themselves. For subscriptions whose messages go to Ruby, it posts to the clients'
//! mailboxes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Context, Event};
use crate::base::lock::Lock;
use crate::base::stats::StatsHandle;
use crate::base::timers::Alarm;
use crate::base::wakeups::{RemoteWaker, Wakeups};
use crate::channel::{Channels, Engine, Limits, Wake};

/// How often old messages are looked for, while there are any.
const SWEEP: Duration = Duration::from_secs(1);

/// The channels of a process, and how its servers are told of messages. It exists without a server, and before one starts.
#[derive(Debug, Clone)]
pub struct PubSub {
    channels: Arc<Channels>,
    notifiers: Arc<Notifiers>,
}

impl PubSub {
    /// Channels with the default bounds. `engine` makes their engine, which wakes its argument when there is something to
    /// take.
    pub fn new(engine: impl FnOnce(Arc<dyn Wake>) -> Arc<dyn Engine>) -> Self {
        let Ok(pubsub) = PubSub::try_new(StatsHandle::default(), |wake| Ok::<_, Infallible>(engine(wake)));
        pubsub
    }

    /// The same with an engine that the system may not have the means for. Publications count in `stats`.
    pub fn try_new<E>(
        stats: StatsHandle,
        engine: impl FnOnce(Arc<dyn Wake>) -> Result<Arc<dyn Engine>, E>,
    ) -> Result<Self, E> {
        let notifiers: Arc<Notifiers> = Arc::default();
        let engine = engine(Arc::clone(&notifiers) as Arc<dyn Wake>)?;
        Ok(PubSub { channels: Channels::counting_in(stats, Limits::default(), engine, None), notifiers })
    }

    /// The channels.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }
}

/// The servers of the process. Usually there is one.
#[derive(Debug, Default)]
struct Notifiers(Lock<Vec<Arc<Notifier>>>);

impl Wake for Notifiers {
    fn wake(&self) {
        self.0.lock().iter().for_each(|notifier| notifier.notify());
    }
}

/// A server's [`Delivery`], as other threads see it.
#[derive(Debug)]
pub struct Notifier {
    task: RemoteWaker,
    /// Clients with messages for Ruby, each with the number of its subscription.
    announced: Lock<Vec<(u64, u64)>>,
    /// Tasks that wait until the engine has numbered the submissions of this process up to a certain one.
    unsettled: Lock<Unsettled>,
    /// Tasks that look each time when the engine has something new.
    lookers: Lock<Lookers>,
}

#[derive(Debug, Default)]
struct Lookers {
    /// By the number that the task got when it began to look.
    tasks: BTreeMap<u64, Waker>,
    next: u64,
}

#[derive(Debug, Default)]
struct Unsettled {
    /// By submission, then by the number that the task got when it began to wait.
    tasks: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

impl Notifier {
    /// The notifier of a server that does not run yet.
    pub fn new(wakeups: Arc<Wakeups>) -> Arc<Self> {
        Arc::new(Notifier {
            task: RemoteWaker::new(wakeups),
            announced: Lock::default(),
            unsettled: Lock::default(),
            lookers: Lock::default(),
        })
    }

    fn notify(&self) {
        self.task.wake();
    }

    /// Has a subscription's messages announced in its client's mailbox. That is not done at once,
    /// because the caller holds the log's lock.
    pub(super) fn announce(&self, client: u64, subscription: u64) {
        self.announced.lock().push((client, subscription));
        self.notify();
    }

    /// Wakes `task` once the engine has numbered or lost the submission, and the messages are in the log.
    pub(super) fn wake_when_settled(&self, submission: u64, task: &Waker) {
        let waits = |waiting: &Waker| waiting.will_wake(task);
        let range = (submission, 0)..=(submission, u64::MAX);
        if !self.unsettled.lock().tasks.range(range).any(|(_, waiting)| waits(waiting)) {
            self.await_settled(submission, task);
        }
    }

    /// The same for a wait that may be given up, by [`Notifier::give_up`] with the number returned.
    pub(super) fn await_settled(&self, submission: u64, task: &Waker) -> u64 {
        let mut unsettled = self.unsettled.lock();
        unsettled.next += 1;
        let number = unsettled.next;
        unsettled.tasks.insert((submission, number), task.clone());
        number
    }

    /// The task waits no longer.
    pub(super) fn give_up(&self, submission: u64, number: u64) {
        self.unsettled.lock().tasks.remove(&(submission, number));
    }

    /// Wakes `task` once, when the engine has something new. `number` is what the task got from this method before.
    pub(super) fn await_events(&self, number: Option<u64>, task: &Waker) -> u64 {
        let mut lookers = self.lookers.lock();
        let number = number.unwrap_or_else(|| {
            lookers.next += 1;
            lookers.next
        });
        lookers.tasks.insert(number, task.clone());
        number
    }

    /// The task waits no longer.
    pub(super) fn ignore_events(&self, number: u64) {
        self.lookers.lock().tasks.remove(&number);
    }

    fn wake_lookers(&self) {
        let lookers = std::mem::take(&mut self.lookers.lock().tasks);
        lookers.into_values().for_each(Waker::wake);
    }

    fn wake_settled(&self, channels: &Channels) {
        let mut settled = Vec::new();
        {
            let mut unsettled = self.unsettled.lock();
            if unsettled.tasks.is_empty() {
                return;
            }
            let last = channels.settled();
            while let Some(task) = unsettled.tasks.first_entry().filter(|task| task.key().0 <= last) {
                settled.push(task.remove());
            }
        }
        settled.into_iter().for_each(Waker::wake);
    }

    pub(super) fn take_announced(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.announced.lock())
    }
}

/// The task. Spawn it on the reactor; it ends with that.
pub struct Delivery {
    context: Arc<Context>,
    alarm: Alarm,
    sweep_at: Option<Instant>,
}

impl Delivery {
    /// The delivery of a server: from now on it is notified.
    pub fn new(context: Arc<Context>) -> Self {
        context.pubsub.notifiers.0.lock().push(Arc::clone(&context.notifier));
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
        // Before it looks: what is published from now on notifies it again.
        self.context.notifier.task.register(cx.waker());
        let channels = &self.context.pubsub.channels;
        if self.context.fan_out.deliver(channels, &self.context.base) {
            // The rest follows when other tasks have run and the reactor has looked for events.
            let _pending = pin!(tokio::task::yield_now()).poll(cx);
        }
        self.context.notifier.wake_settled(channels);
        self.context.notifier.wake_lookers();
        for client in channels.take_dismissed() {
            self.context.clients.get(client).inspect(|client| client.dismiss());
        }
        for (client, subscription) in self.context.notifier.take_announced() {
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
            self.context.pubsub.notifiers.0.lock().retain(|notifier| !Arc::ptr_eq(notifier, own));
        }
    }
}
