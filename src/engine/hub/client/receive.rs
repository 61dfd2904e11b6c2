//! What a worker does with the frames of the hub.

use std::sync::Arc;

use super::super::author::commands_of;
use super::super::protocol::{self, Frame, Known, LONGEST, Position, VERSION, Welcome};
use super::machine::{HubError, Machine, Now, Phase, cursor};
use super::report::Report;
use super::snapshot::Snapshot;
use super::tail::{Content, Recent};
use crate::channel::codec::{self, CodecError, Decoded, Entry};
use crate::channel::{Command, Cursor, Epoch, Event, Message};

impl Machine {
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
            Frame::Message { seq, author, count, message } => match entry(message)? {
                Entry::Message(message) => self.append(seq, author, count, self.message(&message, now))?,
                Entry::Command(command) => self.append_command(seq, author, count, command)?,
            },
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
                let Entry::Message(message) = entry(message)? else {
                    return Err(HubError::Unexpected("a command in a history"));
                };
                if let Some(message) = self.message(&message, now) {
                    message.number(seq);
                    self.snapshot()?.kept.push(message);
                }
            }
            Frame::Members(members) => self.snapshot()?.members.extend(members),
            Frame::Authors(authors) => self.snapshot()?.authors.extend(authors),
            Frame::End => self.end_snapshot()?,
            Frame::Relay { .. } | Frame::Unreachable { .. } | Frame::Parted { .. } => {
                self.parcels.receive(&frame);
            }
            Frame::Hello { .. }
            | Frame::Rules { .. }
            | Frame::Publish { .. }
            | Frame::Command { .. }
            | Frame::AskPosition { .. }
            | Frame::Report { .. }
            | Frame::Numbered { .. } => return Err(HubError::Unexpected("a frame of another direction")),
        }
        Ok(())
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<(), HubError> {
        let Welcome { version, count, seq, commands, credit, .. } = welcome;
        if version != VERSION {
            return Err(HubError::Version(version));
        }
        self.phase = Phase::Welcome;
        self.known = Known { author: self.author, count, seq };
        self.own.known(count);
        self.commands.known(commands);
        self.credit = i64::from(credit);
        Ok(())
    }

    /// The message of another process; `None` if it is one that this process does not accept.
    fn message(&self, decoded: &Decoded<'_>, now: Now) -> Option<Arc<Message>> {
        let message = Message::new(&decoded.draft, &self.limits, decoded.published_at(now));
        message.inspect_err(|error| log::error!("a message of another process is left out: {error}")).ok()
    }

    /// Goes on to an entry with the number `seq`. `None` if it is known already.
    fn advance(&mut self, seq: u64) -> Result<Option<Position>, HubError> {
        let Some(position) = self.position.filter(|_| self.snapshot.is_none()) else {
            return Err(HubError::Unexpected("a message"));
        };
        if seq <= position.last {
            return Ok(None);
        }
        self.position = Some(Position { last: seq, ..position });
        Ok(self.position)
    }

    fn append_command(&mut self, seq: u64, author: u128, count: u64, command: Command) -> Result<(), HubError> {
        if self.advance(seq)?.is_some() {
            if author == commands_of(self.author) {
                self.results.commands += self.commands.settle(count);
            }
            self.tail.push(Recent { author, count, seq, content: Content::Command(command.clone()) });
            self.results.events.push(Event::Command { seq, command });
        }
        Ok(())
    }

    fn append(&mut self, seq: u64, author: u128, count: u64, message: Option<Arc<Message>>) -> Result<(), HubError> {
        let Some(position) = self.advance(seq)? else { return Ok(()) };
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
        self.tail.push(Recent { author, count, seq, content: Content::Message(Arc::clone(&message)) });
        self.results.events.push(Event::Message(message));
    }

    fn snapshot(&mut self) -> Result<&mut Snapshot, HubError> {
        self.snapshot.as_mut().ok_or(HubError::Unexpected("a part of a log"))
    }

    fn end_snapshot(&mut self) -> Result<(), HubError> {
        let snapshot = self.snapshot.take().ok_or(HubError::Unexpected("the end of a log"))?;
        let (position, since) = (snapshot.position, snapshot.since);
        let (reset, mut authors) = snapshot.finish();
        let commands = authors.iter().position(|known| known.author == commands_of(self.author));
        let commands = commands.map_or(0, |own| authors.swap_remove(own).count);
        self.results.commands += self.commands.reset(commands);
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

/// The entry of a log in these bytes.
fn entry(bytes: &[u8]) -> Result<Entry<'_>, HubError> {
    let entry = codec::decode_entry(bytes, usize::MAX)?;
    entry.map(|(entry, _)| entry).ok_or(HubError::Message(CodecError::Truncated))
}
