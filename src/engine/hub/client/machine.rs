//! A worker's half of the protocol: a state machine without I/O and without clocks.
//!
//! The caller feeds it what was submitted ([`Machine::submit`], [`Machine::command`]) and what has come from the hub ([`Machine::receive`]), sends
//! what [`Machine::write`] gives, and takes what has become of it ([`Machine::take_results`]). The machine outlives its
//! connections: [`Machine::connected`] begins one, and [`Machine::disconnected`] ends it, once all that the socket had
//! was received.

use std::mem;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::super::protocol::{self, Frame, Known, Position, ProtocolError, Refusal, Role, VERSION};
use super::commands::Commands;
use super::own::{Own, Settled};
use super::parcels::Parcels;
use super::questions::Questions;
use super::report::Report;
use super::rules::Rules;
use super::snapshot::Snapshot;
use super::tail::Tail;
use crate::channel::codec::{self, CodecError};
use crate::channel::engine::LogEnd;
use crate::channel::{Command, Cursor, Epoch, Event, Limits, Message, Policy, Reset, Ticket};

/// The present time of both clocks.
pub type Now = (Instant, SystemTime);

/// Why a connection must be ended. The hub and this process disagree, which is an error in one of them.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HubError {
    /// The bytes are no frame.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The message in a frame is none.
    #[error(transparent)]
    Message(#[from] CodecError),
    /// The hub speaks another version of the protocol.
    #[error("the hub speaks version {0} of the protocol, and this process {VERSION}")]
    Version(u16),
    /// The frame has no meaning at this time.
    #[error("the hub has sent {0} at the wrong time")]
    Unexpected(&'static str),
}

/// What has become of what was received.
#[derive(Debug, Default)]
pub struct Results {
    /// The events for the channels, in order.
    pub events: Vec<Event>,
    /// The messages that wait for a number no longer, in order. The events contain those that have one.
    pub settled: Vec<Settled>,
    /// How many commands wait for a number no longer.
    pub commands: usize,
    /// Whether a [`LogEnd`] was answered.
    pub answered: bool,
}

impl Results {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.settled.is_empty() && self.commands == 0 && !self.answered
    }
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no connection.
    Away,
    /// The hub has not said yet that it can number messages.
    Greeting,
    /// It can.
    Welcome,
}

/// A worker, as the hub's peer.
#[derive(Debug)]
pub struct Machine {
    pub(super) author: u128,
    generation: u32,
    pub(super) phase: Phase,
    hello: bool,
    pub(super) own: Own,
    pub(super) commands: Commands,
    pub(super) tail: Tail,
    pub(super) position: Option<Position>,
    /// The number of the author's last message that the hub knew when it said welcome.
    pub(super) known: Known,
    pub(super) credit: i64,
    rules: Rules,
    pub(super) questions: Questions,
    pub(super) parcels: Parcels,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) wants_report: bool,
    pub(super) report: Option<Report>,
    pub(super) results: Results,
    pub(super) limits: Limits,
}

impl Machine {
    /// The worker with this author number, whose app has this generation. Keeps at most `tail` bytes of messages for a new
    /// hub.
    pub fn new(author: u128, generation: u32, tail: usize) -> Self {
        // The author has checked its messages, by the limits of its own process.
        let limits = Limits { max_name: usize::MAX, log_bytes: usize::MAX, ..Limits::default() };
        Machine {
            author,
            generation,
            phase: Phase::Away,
            hello: false,
            own: Own::default(),
            commands: Commands::default(),
            tail: Tail::new(tail),
            position: None,
            known: Known { author, count: 0, seq: 0 },
            credit: 0,
            rules: Rules::default(),
            questions: Questions::default(),
            parcels: Parcels::default(),
            snapshot: None,
            wants_report: false,
            report: None,
            results: Results::default(),
            limits,
        }
    }

    // ---- this process ----------------------------------------------------------------------

    /// A message of this process. The places of the tickets rise by one each.
    pub fn submit(&mut self, message: Arc<Message>, ticket: Arc<Ticket>) {
        self.own.push(message, ticket);
    }

    /// A command of this process.
    pub fn command(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// The app has set a rule.
    pub fn define(&mut self, glob: String, policy: Policy) {
        self.rules.define(glob, policy);
    }

    /// The app is loaded: the hub may be told of its rules.
    pub fn loaded(&mut self) {
        self.rules.loaded();
    }

    /// Asks for the end of the hub's log.
    pub fn ask_end(&mut self, end: Arc<LogEnd>) {
        self.questions.push(end);
    }

    /// Changes how many bytes of messages it keeps for a new hub.
    pub fn set_tail(&mut self, bytes: usize) {
        self.tail.set_most(bytes);
    }

    /// Changes which messages of other processes may be compressed: see [`Limits::deflate_min`].
    pub fn set_deflate_min(&mut self, bytes: Option<usize>) {
        self.limits.deflate_min = bytes;
    }

    /// Where the log ends, as far as this process has got it. `None` before the hub's log has come.
    pub fn position(&self) -> Option<Cursor> {
        self.position.map(cursor)
    }

    /// Whether the hub numbers messages.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Welcome
    }

    /// Moves what has happened to `results`.
    pub fn take_results(&mut self, results: &mut Results) {
        results.events.append(&mut self.results.events);
        results.settled.append(&mut self.results.settled);
        results.commands += mem::take(&mut self.results.commands);
        results.answered |= mem::take(&mut self.results.answered);
    }

    // ---- connections -----------------------------------------------------------------------

    /// There is a new connection, to the hub as before or to another one.
    pub fn connected(&mut self) {
        self.phase = Phase::Greeting;
        self.hello = true;
    }

    /// The connection has ended, and all that it had was received.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Away;
        self.hello = false;
        self.own.disconnected();
        self.commands.disconnected();
        self.credit = 0;
        self.rules.disconnected();
        self.questions.disconnected();
        self.parcels.disconnected();
        self.snapshot = None;
        self.wants_report = false;
        self.report = None;
    }

    /// Whether the hub waits for [`Machine::report`].
    pub fn wants_report(&self) -> bool {
        self.wants_report
    }

    /// Reports to the hub. `image` is what the channels keep; they must have taken all events before. `None` if there are no
    /// channels.
    pub fn report(&mut self, image: Option<Reset>) {
        self.wants_report = false;
        self.report = Some(match (self.position, image) {
            (Some(position), Some(image)) if cursor(position).epoch == image.epoch => {
                Report::new(position, &self.tail, image)
            }
            _ => Report::empty(),
        });
    }

    // ---- to the hub ------------------------------------------------------------------------

    /// Appends frames for the hub to `out`, as long as `out` has less than `enough` bytes. What was written before has been
    /// sent.
    pub fn write(&mut self, now: Now, out: &mut Vec<u8>, enough: usize) {
        if self.phase == Phase::Away {
            return;
        }
        self.parcels.written();
        while out.len() < enough && self.write_control(now, out) {}
        while out.len() < enough && self.phase == Phase::Welcome && self.parcels.write(out) {}
        while out.len() < enough && self.phase == Phase::Welcome && self.credit > 0 {
            let Some((count, message)) = self.own.next() else { return };
            let before = out.len();
            if let Err(error) = protocol::publish(count, message, now, out) {
                log::error!("a message for {} cannot be published: {error}", message.channel());
                self.own.sent();
                self.own.refuse(count, Refusal::TooLong, &mut self.results.settled);
                continue;
            }
            self.credit -= (out.len() - before) as i64;
            self.own.sent();
        }
    }

    /// Appends a frame that needs no credit. Returns false if there is none.
    fn write_control(&mut self, now: Now, out: &mut Vec<u8>) -> bool {
        if mem::take(&mut self.hello) {
            let (author, settled, commands) = (self.author, self.own.settled(), self.commands.settled());
            let position = self.position;
            Frame::Hello { version: VERSION, role: Role::Worker, author, settled, commands, position }.encode(out);
            return true;
        }
        if self.rules.write(self.generation, out) {
            return true;
        }
        if let Some(report) = &mut self.report {
            if report.write(&self.tail, now, out) {
                return true;
            }
            self.report = None;
        }
        if self.phase != Phase::Welcome {
            return false;
        }
        if let Some((count, command)) = self.commands.next() {
            let mut bytes = Vec::new();
            match codec::encode_command(command, &mut bytes) {
                Ok(()) => Frame::Command { count, command: &bytes }.encode(out),
                // Another process cannot learn of it. Its count is left out.
                Err(error) => log::error!("members of other workers are not told of a change: {error}"),
            }
            return true;
        }
        if let Some(token) = self.questions.ask() {
            Frame::AskPosition { token }.encode(out);
            return true;
        }
        false
    }
}

pub(super) fn cursor(position: Position) -> Cursor {
    Cursor { epoch: Epoch::from(position.epoch), seq: position.last }
}
