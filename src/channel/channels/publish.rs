//! Publishing: a message goes to the engine and gets its number, at once or later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::super::cursor::Cursor;
use super::super::draft::Draft;
use super::super::engine::{EngineState, EngineTask, Full, LogEnd, Submitted};
use super::super::error::{EngineError, Error};
use super::super::message::Message;
use super::super::progress::{Cancel, Progress, Ticket, Unpublished};
use super::super::unnumbered;
use super::state::Channels;
use crate::base::wakeups::Wakeups;

/// If more bytes than this wait in the engine, a publisher moves them to the log. The reactor is behind then, and the
/// log's bound must hold nevertheless.
const WAITING: usize = 1 << 20;

/// Messages that wait in the engine may open this many channels. If the limit of channels leaves room for fewer, a
/// publisher checks the log first.
const CLOSE: usize = 4096;

/// The cursor behind a message that was published.
#[derive(Debug, Clone)]
pub enum Receipt {
    /// The message has its number.
    Known(Cursor),
    /// The engine numbers it later.
    Pending(Arc<Ticket>),
}

impl Receipt {
    /// The cursor, if the message has its number by now. The error says that it never gets one.
    pub fn outcome(&self) -> Option<Result<Cursor, Unpublished>> {
        match self {
            Receipt::Known(cursor) => Some(Ok(*cursor)),
            Receipt::Pending(ticket) => ticket.outcome(),
        }
    }

    /// The cursor, if the message has its number by now.
    pub fn cursor(&self) -> Option<Cursor> {
        self.outcome()?.ok()
    }
}

/// The result of a publish.
#[derive(Debug)]
pub struct Posted {
    /// The cursor behind the message.
    pub receipt: Receipt,
    /// The reactor is behind. The caller must call [`Channels::take_over`], or memory is not bounded.
    pub behind: bool,
}

/// The result of [`Channels::post`].
#[derive(Debug)]
pub enum Post {
    /// The engine has the message.
    Done(Posted),
    /// The engine takes no message for now, and has not kept this one: see [`Channels::post_later`].
    Full(Unsent),
}

/// A message that the engine has not taken.
#[derive(Debug)]
pub struct Unsent(Arc<Message>);

impl Channels {
    /// Publishes a message; `now` is when its ttl begins. Returns the cursor behind it.
    ///
    /// Waits for other publishers' pushes, and for the log only if much waits to be taken over. While the engine takes
    /// no messages, waits for at most [`crate::channel::Limits::publish_timeout`]; the caller must hold no lock.
    pub fn publish(&self, draft: &Draft<'_>, now: Instant) -> Result<Receipt, Error> {
        let posted = match self.post(draft, now)? {
            Post::Done(posted) => posted,
            Post::Full(unsent) => {
                let deadline = Instant::now() + self.limits().publish_timeout;
                let posted = self.post_later(&mut Some(unsent), deadline, &Cancel::default());
                posted.ok_or_else(|| self.unavailable())?
            }
        };
        if posted.behind {
            self.take_over();
        }
        Ok(posted.receipt)
    }

    /// Like [`Channels::publish`], but does not wait for an engine that takes no messages. Waits for the log only when
    /// the limit of channels is near.
    pub fn post(&self, draft: &Draft<'_>, now: Instant) -> Result<Post, Error> {
        let limits = self.limits();
        let message = Message::new(draft, &limits, now)?;
        if self.open.load(Ordering::Relaxed) + CLOSE >= limits.max_channels
            && !self.lock_current().log.accepts(draft.channel)
        {
            return Err(Error::TooManyChannels(limits.max_channels));
        }
        Ok(match self.submit(message) {
            Ok(posted) => Post::Done(posted),
            Err(Full(message)) => Post::Full(Unsent(message)),
        })
    }

    /// Waits until the engine takes the message, and publishes the message. Returns `None` if `deadline` comes first, or
    /// if the wait is cancelled; then `unsent` keeps the message. The caller must hold no lock, nor the GVL.
    pub fn post_later(&self, unsent: &mut Option<Unsent>, deadline: Instant, cancel: &Cancel) -> Option<Posted> {
        let mut attempt = || match self.submit(unsent.take()?.0) {
            Ok(posted) => Some(posted),
            Err(Full(refused)) => {
                *unsent = Some(Unsent(refused));
                None
            }
        };
        match self.engine.progress() {
            Some(progress) => progress.wait_for_room(deadline, cancel, attempt),
            None => attempt(),
        }
    }

    /// Why the engine takes no messages.
    pub fn unavailable(&self) -> Error {
        Error::Engine(match self.engine.state() {
            EngineState::Ready => EngineError::Full,
            EngineState::Away => EngineError::Away,
        })
    }

    pub(super) fn submit(&self, message: Arc<Message>) -> Result<Posted, Full<Arc<Message>>> {
        let submitted = self.engine.submit(message)?;
        self.stats.published.add();
        Ok(match submitted {
            Submitted::Numbered { cursor, waiting } => {
                Posted { receipt: Receipt::Known(cursor), behind: waiting > WAITING }
            }
            Submitted::Queued(ticket) => {
                unnumbered::note(ticket.place());
                Posted { receipt: Receipt::Pending(ticket), behind: false }
            }
        })
    }
    /// The cursor behind all messages that have a number. Submissions may have no number yet: see
    /// [`Channels::unsettled`].
    pub fn cursor(&self) -> Cursor {
        self.engine.position()
    }

    /// The last submission of this process, if the engine has not numbered all submissions yet. A thread that inspects
    /// channels must wait for the last submission, or the thread does not find its own messages.
    pub fn unsettled(&self) -> Option<u64> {
        self.engine.progress()?.unsettled()
    }

    /// The last command of this process, if the engine has not numbered all of them yet: see
    /// [`Progress::unsettled_command`]. A thread that inspects members must wait for it, or the thread does not find its own client.
    pub fn unsettled_command(&self) -> Option<u64> {
        self.engine.progress()?.unsettled_command()
    }

    /// Whether the engine has numbered or lost all submissions up to this one.
    pub fn is_settled(&self, submission: u64) -> bool {
        self.engine.progress().is_none_or(|progress| progress.is_settled(submission))
    }

    /// The last submission of this thread that had no number at once and has none now, if it was made since the last call
    /// of this method or of [`super::super::forget_unnumbered`].
    pub fn take_unnumbered(&self) -> Option<u64> {
        unnumbered::take().filter(|place| !self.is_settled(*place))
    }

    /// The engine has numbered or lost all submissions up to this one.
    pub fn settled(&self) -> u64 {
        self.engine.progress().map_or(u64::MAX, |progress| progress.settled())
    }

    /// Where the log of all processes ends: see [`super::super::Engine::ask_end`].
    pub fn ask_end(&self) -> Option<Arc<LogEnd>> {
        self.engine.ask_end()
    }

    /// What the engine does while a server runs: see [`super::super::Engine::task`].
    pub fn engine_task(&self, wakeups: &Arc<Wakeups>) -> Option<EngineTask> {
        Arc::clone(&self.engine).task(wakeups)
    }

    /// What threads wait for, if the engine numbers messages later than [`super::super::Engine::submit`] returns.
    pub fn progress(&self) -> Option<&Arc<Progress>> {
        self.engine.progress()
    }
}
