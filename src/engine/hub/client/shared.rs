//! What other threads leave for the one that drives, and what that one leaves for them.

use std::mem;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::machine::Results;
use super::tail;
use crate::channel::engine::{EngineState, Full, LogEnd};
use crate::channel::{Command, Cursor, Epoch, Event, Limits, Message, Policy, Progress, Ticket};

/// How much may come from the hub while the app is not loaded. Beyond it nothing is read: the hub sends the rest later.
const EARLY: usize = 8 << 20;

/// Commands that wait for their numbers. Beyond that, the channels keep changes of members, one for each client and channel.
const MOST_COMMANDS: usize = 4096;

/// What all threads of the engine use. Nothing of it waits, reads, writes or encodes.
pub(super) struct Shared {
    pub(super) submitted: Vec<(Arc<Message>, Arc<Ticket>)>,
    pub(super) commands: Vec<Command>,
    /// How many commands have no number.
    commanded: usize,
    pub(super) rules: Vec<(String, Policy)>,
    /// All that ask until the next turn wait for the same answer.
    pub(super) question: Option<Arc<LogEnd>>,
    /// The connection that follows when the present one has ended.
    pub(super) next: Option<UnixStream>,
    /// The app is loaded. Before, the channels do not know its rules, and would keep nothing of the hub's log.
    pub(super) loaded: bool,
    /// Bytes of the entries that have come before.
    early: usize,
    pub(super) tail: usize,
    /// How many messages have no number, and their bytes.
    waiting: usize,
    waiting_bytes: usize,
    pub(super) limits: Limits,
    pub(super) events: Vec<Event>,
    pub(super) position: Cursor,
    /// The hub's log has come.
    pub(super) begun: bool,
    pub(super) state: EngineState,
}

impl Shared {
    pub(super) fn new(limits: Limits) -> Self {
        Shared {
            submitted: Vec::new(),
            commands: Vec::new(),
            commanded: 0,
            rules: Vec::new(),
            question: None,
            next: None,
            loaded: false,
            early: 0,
            tail: limits.log_bytes,
            waiting: 0,
            waiting_bytes: 0,
            limits,
            events: Vec::new(),
            // No client can have this epoch.
            position: Cursor { epoch: Epoch::new(), seq: 0 },
            begun: false,
            state: EngineState::Away,
        }
    }

    /// Whether too much has come while the app is not loaded.
    pub(super) fn is_paused(&self) -> bool {
        !self.loaded && self.early > EARLY
    }

    /// Leaves a message for the thread that drives, unless too many have no number.
    pub(super) fn submit(
        &mut self,
        message: Arc<Message>,
        progress: &Progress,
    ) -> Result<Arc<Ticket>, Full<Arc<Message>>> {
        let cost = message.cost();
        let fits = self.waiting == 0 || self.waiting_bytes + cost <= self.limits.publish_queue_bytes;
        if self.waiting >= self.limits.publish_queue || !fits {
            return Err(Full(message));
        }
        self.waiting += 1;
        self.waiting_bytes += cost;
        let ticket = progress.submit();
        self.submitted.push((message, Arc::clone(&ticket)));
        Ok(ticket)
    }

    /// Leaves a command for the thread that drives, unless too many have no number.
    pub(super) fn command(&mut self, command: Command, progress: &Progress) -> Result<(), Full<Command>> {
        if self.commanded >= MOST_COMMANDS {
            return Err(Full(command));
        }
        self.commanded += 1;
        progress.submit_command();
        self.commands.push(command);
        Ok(())
    }

    /// Leaves what has come of a turn for the other threads.
    pub(super) fn publish(&mut self, results: &mut Results, state: EngineState, position: Option<Cursor>) {
        self.state = state;
        if let Some(position) = position {
            (self.position, self.begun) = (position, true);
        }
        self.commanded -= results.commands;
        self.waiting -= results.settled.len();
        self.waiting_bytes -= results.settled.iter().map(|settled| settled.cost).sum::<usize>();
        if !self.loaded {
            let cost = |event: &Event| match event {
                Event::Message(message) => message.cost(),
                Event::Command { command, .. } => tail::cost(command),
                Event::Reset(_) | Event::Lost { .. } => 0,
            };
            self.early += results.events.iter().map(cost).sum::<usize>();
        }
        move_events(&mut results.events, &mut self.events);
    }

    /// Appends what has come to `events`.
    pub(super) fn take(&mut self, events: &mut Vec<Event>) {
        if self.loaded {
            move_events(&mut self.events, events);
        }
    }
}

/// Appends all events, and keeps the memory of both vectors.
fn move_events(from: &mut Vec<Event>, to: &mut Vec<Event>) {
    if to.is_empty() {
        mem::swap(from, to);
    } else {
        to.append(from);
    }
}
