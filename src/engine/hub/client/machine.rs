//! A worker's half of the protocol: a state machine without I/O and without clocks.
//!
//! The caller feeds it what was submitted ([`Machine::submit`]) and what has come from the hub ([`Machine::receive`]), sends
//! what [`Machine::write`] gives, and takes what has become of it ([`Machine::take_results`]). The machine outlives its
//! connections: [`Machine::connected`] begins one, and [`Machine::disconnected`] ends it, once all that the socket had
//! was received.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::super::protocol::{
    self, Frame, Known, OVERHEAD, PIECE, Position, ProtocolError, Refusal, Role, Rule, VERSION, Welcome,
};
use super::own::{Own, Settled};
use super::report::Report;
use super::snapshot::Snapshot;
use super::tail::{Recent, Tail};
use crate::channel::codec::{self, CodecError};
use crate::channel::engine::LogEnd;
use crate::channel::{Cursor, Epoch, Event, Limits, Message, Policy, Reset, Ticket};

/// The longest frame: a message is shorter than 2 GiB.
const LONGEST: usize = (1 << 31) + OVERHEAD;

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
    /// Whether a [`LogEnd`] was answered.
    pub answered: bool,
}

impl Results {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.settled.is_empty() && !self.answered
    }
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Away,
    /// The hub has not said yet that it can number messages.
    Greeting,
    /// It can.
    Welcome,
}

/// Questions for the end of the hub's log. One frame asks for all that wait: an end that is known later is right for an
/// earlier question, too.
#[derive(Debug, Default)]
struct Questions {
    /// Each with its token. Tokens rise.
    open: VecDeque<(u64, Arc<LogEnd>)>,
    last: u64,
    /// Questions up to this token were asked over this connection.
    asked: u64,
}

impl Questions {
    fn push(&mut self, end: Arc<LogEnd>) {
        self.forget_first();
        self.last += 1;
        self.open.push_back((self.last, end));
    }

    /// Forgets the oldest questions if nobody waits for the answer any more. Those behind them are as old at most as the wait
    /// of the first one that is held, so the questions are bounded also while there is no hub.
    fn forget_first(&mut self) {
        while self.open.front().is_some_and(|(_, end)| Arc::strong_count(end) == 1) {
            self.open.pop_front();
        }
    }

    /// The token to ask with. `None` if there is nothing to ask.
    fn ask(&mut self) -> Option<u64> {
        self.forget_first();
        let (token, _) = self.open.back().filter(|(token, _)| *token > self.asked)?;
        self.asked = *token;
        Some(*token)
    }

    /// Returns whether anything is answered.
    fn answer(&mut self, token: u64, cursor: Cursor) -> bool {
        let answered = self.open.partition_point(|(own, _)| *own <= token);
        self.open.drain(..answered).for_each(|(_, end)| end.answer(cursor));
        answered > 0
    }

    fn disconnected(&mut self) {
        self.open.retain(|(_, end)| Arc::strong_count(end) > 1);
        self.asked = 0;
    }
}

/// The rules of the app, in the order in which they were set.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<(String, Policy)>,
    /// How many of them were sent over this connection.
    sent: usize,
    /// All rules are known that the app sets while it is loaded. Before, the hub is told none: it would forget what the
    /// rules of the older code keep.
    loaded: bool,
    /// The hub was told of this generation.
    told: bool,
}

/// A worker, as the hub's peer.
#[derive(Debug)]
pub struct Machine {
    author: u128,
    generation: u32,
    phase: Phase,
    hello: bool,
    own: Own,
    tail: Tail,
    position: Option<Position>,
    /// The number of the author's last message that the hub knew when it said welcome.
    known: Known,
    credit: i64,
    rules: Rules,
    questions: Questions,
    snapshot: Option<Snapshot>,
    wants_report: bool,
    report: Option<Report>,
    results: Results,
    limits: Limits,
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
            tail: Tail::new(tail),
            position: None,
            known: Known { author, count: 0, seq: 0 },
            credit: 0,
            rules: Rules::default(),
            questions: Questions::default(),
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

    /// The app has set a rule.
    pub fn define(&mut self, glob: String, policy: Policy) {
        let Rules { all, sent, .. } = &mut self.rules;
        if let Some(old) = all.iter().position(|(other, _)| *other == glob) {
            all.remove(old);
            *sent -= usize::from(old < *sent);
        }
        all.push((glob, policy));
    }

    /// The app is loaded: the hub may be told of its rules.
    pub fn loaded(&mut self) {
        self.rules.loaded = true;
    }

    /// Asks for the end of the hub's log.
    pub fn ask_end(&mut self, end: Arc<LogEnd>) {
        self.questions.push(end);
    }

    /// Changes how many bytes of messages it keeps for a new hub.
    pub fn set_tail(&mut self, bytes: usize) {
        self.tail.set_most(bytes);
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
        self.credit = 0;
        (self.rules.sent, self.rules.told) = (0, false);
        self.questions.disconnected();
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

    /// Appends frames for the hub to `out`, as long as `out` has less than `enough` bytes.
    pub fn write(&mut self, now: Now, out: &mut Vec<u8>, enough: usize) {
        if self.phase == Phase::Away {
            return;
        }
        while out.len() < enough && self.write_control(now, out) {}
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
            let (author, settled) = (self.author, self.own.settled());
            Frame::Hello { version: VERSION, role: Role::Worker, author, settled, position: self.position }.encode(out);
            return true;
        }
        let Rules { all, sent, loaded, told } = &mut self.rules;
        if *loaded && (*sent < all.len() || !*told) {
            let mut size = 0;
            let rules = all[*sent..].iter().map_while(|(glob, policy)| {
                let fits = size < PIECE;
                size += glob.len() + 14;
                fits.then(|| Rule::new(glob, policy))
            });
            let rules: Vec<_> = rules.collect();
            *sent += rules.len();
            *told = true;
            Frame::Rules { generation: self.generation, rules }.encode(out);
            return true;
        }
        if let Some(report) = &mut self.report {
            if report.write(&self.tail, now, out) {
                return true;
            }
            self.report = None;
        }
        if self.phase == Phase::Welcome
            && let Some(token) = self.questions.ask()
        {
            Frame::AskPosition { token }.encode(out);
            return true;
        }
        false
    }

    // ---- from the hub ----------------------------------------------------------------------

    /// Takes the whole frames at the beginning of `bytes`. Returns how many bytes they have.
    pub fn receive(&mut self, bytes: &[u8], now: Now) -> Result<usize, HubError> {
        let mut taken = 0;
        while let Some((frame, length)) = protocol::decode(&bytes[taken..], LONGEST)? {
            self.take(frame, now)?;
            taken += length;
        }
        Ok(taken)
    }

    fn take(&mut self, frame: Frame<'_>, now: Now) -> Result<(), HubError> {
        match frame {
            Frame::Message { seq, author, count, message } => {
                let message = self.message(message, now)?;
                self.append(seq, author, count, message)?;
            }
            Frame::Own { count, seq, run } => self.append_own(count, seq, run)?,
            Frame::Stable { seq } => self.tail.stable(seq),
            Frame::Credit { bytes } => self.credit += i64::from(bytes),
            Frame::Welcome(welcome) => self.welcome(welcome)?,
            Frame::AskReport => match self.position {
                Some(_) => self.wants_report = true,
                None => self.report = Some(Report::empty()),
            },
            Frame::Continue { after } => {
                if self.position.is_none_or(|position| position.last != after) {
                    return Err(HubError::Unexpected("a continuation"));
                }
            }
            Frame::Refused { count, reason } => {
                log::error!("a message of this process was not published: {reason}");
                self.own.refuse(count, reason, &mut self.results.settled);
            }
            Frame::Position { token, position } => {
                self.results.answered |= self.questions.answer(token, cursor(position));
            }
            Frame::Reset { position, since } => self.snapshot = Some(Snapshot::new(position, since)),
            Frame::Floors(floors) => {
                let floors = floors.into_iter().map(|(floor, name)| (Arc::from(name), floor));
                self.snapshot()?.floors.extend(floors);
            }
            Frame::Forgotten { key, floors } => {
                self.snapshot()?.forgotten = crate::channel::Forgotten::from_parts(key, floors);
            }
            Frame::Kept { seq, message } => {
                if let Some(message) = self.message(message, now)? {
                    message.number(seq);
                    self.snapshot()?.kept.push(message);
                }
            }
            Frame::Authors(authors) => self.snapshot()?.authors.extend(authors),
            Frame::End => self.end_snapshot()?,
            Frame::Hello { .. }
            | Frame::Rules { .. }
            | Frame::Publish { .. }
            | Frame::AskPosition { .. }
            | Frame::Report { .. }
            | Frame::Numbered { .. } => return Err(HubError::Unexpected("a frame of another direction")),
        }
        Ok(())
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<(), HubError> {
        let Welcome { version, count, seq, credit, .. } = welcome;
        if version != VERSION {
            return Err(HubError::Version(version));
        }
        self.phase = Phase::Welcome;
        self.known = Known { author: self.author, count, seq };
        self.own.known(count);
        self.credit = i64::from(credit);
        Ok(())
    }

    /// The message of another process; `None` if it is one that this process does not accept.
    fn message(&self, bytes: &[u8], now: Now) -> Result<Option<Arc<Message>>, HubError> {
        let Some((decoded, _)) = codec::decode(bytes, usize::MAX)? else {
            return Err(HubError::Message(CodecError::Truncated));
        };
        let message = Message::new(&decoded.draft, &self.limits, decoded.published_at(now));
        Ok(message.inspect_err(|error| log::error!("a message of another process is left out: {error}")).ok())
    }

    fn append(&mut self, seq: u64, author: u128, count: u64, message: Option<Arc<Message>>) -> Result<(), HubError> {
        let Some(position) = self.position.filter(|_| self.snapshot.is_none()) else {
            return Err(HubError::Unexpected("a message"));
        };
        if seq <= position.last {
            return Ok(());
        }
        let position = Position { last: seq, ..position };
        self.position = Some(position);
        let own = if author == self.author {
            self.own.number(count, cursor(position), &mut self.results.settled)
        } else {
            None
        };
        if let Some(message) = own.or(message) {
            self.push(author, count, seq, message);
        }
        Ok(())
    }

    fn append_own(&mut self, count: u64, seq: u64, run: u32) -> Result<(), HubError> {
        let Some(position) = self.position.filter(|_| self.snapshot.is_none()) else {
            return Err(HubError::Unexpected("a number"));
        };
        for index in 0..u64::from(run) {
            let (count, seq) = (count + index, seq + index);
            if seq <= position.last {
                continue;
            }
            let position = Position { last: seq, ..position };
            let Some(message) = self.own.number(count, cursor(position), &mut self.results.settled) else {
                return Err(HubError::Unexpected("the number of another message"));
            };
            self.position = Some(position);
            self.push(self.author, count, seq, message);
        }
        Ok(())
    }

    fn push(&mut self, author: u128, count: u64, seq: u64, message: Arc<Message>) {
        message.number(seq);
        self.tail.push(Recent { author, count, message: Arc::clone(&message) });
        self.results.events.push(Event::Message(message));
    }

    fn snapshot(&mut self) -> Result<&mut Snapshot, HubError> {
        self.snapshot.as_mut().ok_or(HubError::Unexpected("a part of a log"))
    }

    fn end_snapshot(&mut self) -> Result<(), HubError> {
        let snapshot = self.snapshot.take().ok_or(HubError::Unexpected("the end of a log"))?;
        let (position, since) = (snapshot.position, snapshot.since);
        let (reset, mut authors) = snapshot.finish();
        let own = authors.iter().position(|known| known.author == self.author);
        let known = own.map(|own| authors.swap_remove(own)).filter(|own| own.count > self.known.count);
        let known = known.unwrap_or(self.known);
        if known.seq <= position.last {
            // The numbers of the others are not known. A page that has such a cursor gets a message twice, or is told of a
            // gap, but misses none in silence.
            let before = Cursor { epoch: Epoch::from(position.epoch), seq: since };
            // Without a number, the last one was refused.
            let numbered = known.seq > 0;
            let earlier = known.count.saturating_sub(u64::from(numbered));
            self.own.settle(earlier, before, &mut self.results.settled);
            if numbered {
                let last = Position { last: known.seq, ..position };
                self.own.number(known.count, cursor(last), &mut self.results.settled);
            }
        }
        self.tail.replace(position.last, authors);
        self.position = Some(position);
        self.results.events.push(Event::Reset(Box::new(reset)));
        Ok(())
    }
}

fn cursor(position: Position) -> Cursor {
    Cursor { epoch: Epoch::from(position.epoch), seq: position.last }
}
