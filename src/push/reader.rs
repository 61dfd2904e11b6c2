//! A client's reader of channels, which gives bytes of messages to the client's carrier: a stream sends them to its
//! socket, a session's task collects them for the next poll.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;

use super::compression;
use super::delivery::Notifier;
use super::{Client, Event};
use crate::base::lock::Lock;
use crate::base::timers::Stamp;
use crate::base::wakeups::RemoteWaker;
use crate::channel::{self, Cursor, Notice, Reader, Shape, Since, Target, Wake};

/// What a client reads of channels. Made with its first subscription.
#[derive(Debug)]
pub struct ClientReader {
    reader: Reader,
    alert: Arc<Alert>,
    /// See [`Client::has_lost_writes`].
    lost: bool,
    pub(super) state: Lock<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The first subscriptions are complete, and the replay has begun.
    pub(super) opened: bool,
    /// There was a subscription whose messages go to the client.
    pub(super) subscribed: bool,
    /// Whether the client gets all messages that it has missed. `None` if it has not asked for any.
    pub(super) recovered: Option<bool>,
    /// Subscriptions whose messages go to Ruby.
    pub(super) calls: Vec<Arc<Call>>,
    pub(super) last_call: u64,
}

/// Wakes the carrier of the client, for the log.
#[derive(Debug)]
struct Alert {
    ready: AtomicBool,
    given_up: AtomicBool,
    task: RemoteWaker,
}

impl Wake for Alert {
    fn wake(&self) {
        self.ready.store(true, Ordering::Release);
        self.task.wake();
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.wake();
    }
}

/// The result of one read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// There is more: read again, after other tasks had their turn.
    pub more: bool,
    /// See [`channel::Batch::waits`].
    pub waits: bool,
    /// Messages that the client has not got are gone: close it.
    pub overrun: bool,
    /// See [`channel::Batch::newest`].
    pub newest: Option<Stamp>,
}

/// The messages that were published before the app closed a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastMessages {
    /// The last submission of this process, while the engine has not numbered it.
    submission: Option<u64>,
    /// Where those end that have numbers.
    end: Cursor,
}

impl LastMessages {
    /// Whether the engine has numbered all of them.
    pub(super) fn are_numbered(&self) -> bool {
        self.submission.is_none()
    }

    /// Does not wait for the engine any more: those that have no numbers by now do not count.
    pub(super) fn stop_waiting(&mut self, client: &Client) {
        let channels = client.context().pubsub.channels();
        channels.deliver();
        *self = LastMessages { submission: None, end: channels.cursor() };
    }
}

impl ClientReader {
    pub(super) fn new(client: &Client, since: Since) -> Arc<Self> {
        let context = client.context();
        let alert = Arc::new(Alert {
            ready: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            task: RemoteWaker::new(Arc::clone(&context.base.wakeups)),
        });
        let reader = Reader::attach(context.pubsub.channels(), client.id(), Arc::clone(&alert) as Arc<dyn Wake>, since);
        Arc::new(ClientReader { reader, alert, lost: client.has_lost_writes(), state: Lock::default() })
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The first subscriptions are complete, so their missed messages are replayed. Only the first call after a
    /// subscription has an effect.
    pub(super) fn begin_replay(&self) {
        let mut state = self.lock();
        let begins = state.subscribed && !std::mem::replace(&mut state.opened, true);
        drop(state);
        if begins && self.lost {
            self.reader.open_after_loss();
        } else if begins {
            self.reader.open();
        }
    }

    /// What was published before the app has closed the client. The client gets all of it before the close.
    pub(super) fn last_messages(&self, client: &Client) -> LastMessages {
        // A closed client cannot subscribe any more, although its first callback may still run.
        self.begin_replay();
        let channels = client.context().pubsub.channels();
        // Before the position: what is numbered between the two is covered by both.
        let submission = channels.unsettled();
        channels.deliver();
        LastMessages { submission, end: channels.cursor() }
    }

    /// Whether the client has not got all of `last`. While the engine has not numbered all of it, that is so, and `task`
    /// will be woken when it has.
    pub(super) fn is_behind(&self, client: &Client, last: &mut LastMessages, task: &Waker) -> bool {
        if let Some(submission) = last.submission {
            let context = client.context();
            // Before it looks: what is numbered from now on wakes the task.
            context.notifier.wake_when_settled(submission, task);
            if !context.pubsub.channels().is_settled(submission) {
                return true;
            }
            last.stop_waiting(client);
        }
        self.has_not_read(last)
    }

    /// Whether the client has not got all of `last`, as far as its messages have numbers.
    pub(super) fn has_not_read(&self, last: &LastMessages) -> bool {
        !last.are_numbered() || self.reader.is_behind(last.end)
    }

    /// Whether there may be something to read. If not, `task` is woken when there is.
    pub fn poll_ready(&self, task: &Waker) -> bool {
        self.alert.task.register(task);
        self.alert.ready.load(Ordering::Acquire)
    }

    /// Whether the client must be closed, because the channels' memory was full and messages that it has not got are
    /// gone. If not, `task` is woken when it must. While a stream's socket takes nothing, the stream does not read
    /// channels, but asks this.
    pub fn poll_given_up(&self, client: &Client, task: &Waker) -> bool {
        self.alert.task.register(task);
        let given_up = self.alert.given_up.load(Ordering::Acquire);
        if given_up {
            client.context().base.stats.overruns.add();
        }
        given_up
    }

    /// Gives `sink` what the client has not got yet, in whole frames or blocks, at most one batch. `blocked` says that
    /// the client has not taken everything that was read before.
    pub fn read(&self, client: &Arc<Client>, blocked: bool, sink: impl FnMut(Bytes)) -> Taken {
        // Before the read, so that later messages set it again.
        self.alert.ready.store(false, Ordering::Release);
        let batch = self.reader.read(client.encoding(), blocked, sink);
        let stats = &client.context().base.stats;
        if batch.overrun {
            stats.overruns.add();
        }
        if batch.more {
            self.alert.ready.store(true, Ordering::Release);
        }
        stats.delivered.add_many(batch.messages as u64);
        if let Some(deflations) = &batch.deflations {
            compression::count(stats, deflations);
        }
        for notice in &batch.notices {
            // A raw WebSocket gets no `push.drop`, so its handler is told.
            report(client, notice, client.shape() == Shape::Raw);
        }
        Taken { more: batch.more, waits: batch.waits, overrun: batch.overrun, newest: batch.newest }
    }

    /// The client has taken nothing for `slow_timeout`. Returns false if its channels' rules say that it must be
    /// closed.
    pub fn stalled(&self) -> bool {
        self.reader.stalled()
    }
}

/// Posts `on_gap` for gaps. If `untold`, also for skipped messages, because the client is not told of them.
fn report(client: &Arc<Client>, notice: &Notice, untold: bool) {
    let stats = &client.context().base.stats;
    match notice {
        Notice::Open { gap, .. } => gap.iter().for_each(|channel| tell_gap(client, channel)),
        Notice::Gap { channel, .. } => tell_gap(client, channel),
        Notice::Drop { channel, count } => {
            stats.drops.add_many(*count);
            if untold {
                client.post(Event::Gap(Arc::clone(channel)));
            }
        }
        Notice::Here { .. } => {}
    }
}

fn tell_gap(client: &Arc<Client>, channel: &Arc<str>) {
    client.context().base.stats.gaps.add();
    client.post(Event::Gap(Arc::clone(channel)));
}

/// A subscription whose messages go to Ruby, through the client's mailbox.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) pattern: bool,
    reader: Lock<Option<Reader>>,
    /// Messages that were read, but could not be given to Ruby.
    returned: Lock<Vec<Arc<channel::Message>>>,
}

/// Messages for Ruby.
#[derive(Debug, Default)]
pub struct Published {
    /// The messages, in the order of the log.
    pub messages: Vec<Arc<channel::Message>>,
    /// There are more. Another event follows.
    pub more: bool,
}

/// Has messages for Ruby announced, for the log. This must not own the client or the reader, because it is dropped with
/// the log's lock held.
struct Announce {
    client: u64,
    number: u64,
    notifier: Arc<Notifier>,
}

impl Wake for Announce {
    fn wake(&self) {
        self.notifier.announce(self.client, self.number);
    }
}

impl Call {
    pub(super) fn new(number: u64, target: Target<'_>) -> Self {
        let (name, pattern) = match target {
            Target::Channel(name) => (name, false),
            Target::Pattern(name) => (name, true),
        };
        Call { number, name: name.to_owned(), pattern, reader: Lock::new(None), returned: Lock::default() }
    }

    pub(super) fn target(&self) -> Target<'_> {
        if self.pattern { Target::Pattern(&self.name) } else { Target::Channel(&self.name) }
    }

    /// Subscribes. Returns what [`Reader::subscribe`] does.
    pub(super) fn begin(&self, client: &Client, since: Since) -> Result<Option<bool>, channel::Error> {
        let context = client.context();
        let notifier = Arc::clone(&context.notifier);
        let wake = Announce { client: client.id(), number: self.number, notifier };
        // The first announcement may come before the reader is open. It is the only one until a read, so the read waits.
        let mut slot = self.reader.lock();
        let reader = Reader::attach(context.pubsub.channels(), client.id(), Arc::new(wake), since);
        let subscription = channel::Subscription { target: self.target(), ..channel::Subscription::to("") };
        let complete = reader.subscribe(subscription, Instant::now())?;
        reader.open();
        *slot = Some(reader);
        Ok(complete)
    }

    /// Puts back messages that were read. The next read returns them first.
    pub(super) fn unread(&self, messages: Vec<Arc<channel::Message>>) {
        *self.returned() = messages;
    }

    fn returned(&self) -> MutexGuard<'_, Vec<Arc<channel::Message>>> {
        self.returned.lock()
    }

    /// Reads the next messages.
    pub(super) fn read(&self, client: &Arc<Client>) -> Published {
        let mut published = Published { messages: std::mem::take(&mut *self.returned()), more: false };
        let guard = self.reader.lock();
        let Some(reader) = &*guard else { return published };
        let batch = reader.read_messages(|message| published.messages.push(Arc::clone(message)));
        published.more = batch.more;
        drop(guard);
        for notice in &batch.notices {
            report(client, notice, true);
        }
        if batch.overrun {
            // The subscription continues with messages that are published from now on.
            tell_gap(client, &self.name.as_str().into());
            if let Err(error) = self.begin(client, Since::Now) {
                log::warn!("{client}: its subscription to {} has ended: {error}", self.name);
            }
        }
        published
    }
}
