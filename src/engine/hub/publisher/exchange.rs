//! What a publisher and the server say to each other, without a socket. A command goes the way of a message.
//!
//! A message gets its count when it is sent for the first time. So a message that is given up before has none. A message
//! that was sent stays in `sent` until it is answered. After a connection was lost, [`Frame::Welcome`] says which messages
//! the server has taken. The others are sent again, with the counts that they have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::super::protocol::{self, Frame, ProtocolError, Refusal, Role, VERSION, Welcome};
use crate::channel::codec::{CodecError, encode_command};
use crate::channel::{Command, Cursor, Epoch, Message};

/// Frames are made until this many bytes wait for the socket. So most messages that are given up were not sent.
const AHEAD: usize = 64 * 1024;

/// No frame to a publisher is longer than this.
const LONGEST_ANSWER: usize = 4096;

/// The token of the question behind which all earlier messages are answered that the server knows.
const BARRIER: u64 = 0;

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The message has this number; or the log ends here.
    At(Cursor),
    /// The server does not take the message.
    Refused(Refusal),
}

/// What becomes of a request that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The server has not got it, and does not get it.
    Unsent,
    /// It was sent. The server may have published it.
    Sent,
}

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum Broken {
    /// Bytes that are no frame.
    #[error("what listens there does not speak push_server's protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// A frame that no server sends to a publisher.
    #[error("what listens there does not speak push_server's protocol")]
    Unexpected,
    /// The server speaks another version.
    #[error(
        "the server speaks version {0} of the protocol, and this process version {VERSION}: use the same push_server"
    )]
    Version(u16),
}

/// What is to be published.
#[derive(Debug)]
pub(super) enum Content {
    Message(Arc<Message>),
    Command(Command),
}

impl Content {
    /// Appends the frame.
    fn encode(&self, count: u64, now: (Instant, SystemTime), out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Content::Message(message) => protocol::publish(count, message, now, out),
            Content::Command(command) => {
                let mut bytes = Vec::new();
                encode_command(command, &mut bytes)?;
                Frame::Publish { count, message: &bytes }.encode(out);
                Ok(())
            }
        }
    }
}

struct Sent {
    id: u64,
    count: u64,
    content: Content,
    /// Whether it was sent over this connection, or the server has said that it knows it.
    current: bool,
}

/// The state of a connection whose server has sent its welcome.
struct Welcomed {
    epoch: Epoch,
    /// The count up to which the server knew the messages when the connection began.
    known: u64,
    credit: i64,
    longest: usize,
}

/// The requests of a process that have no answer yet. Requests have numbers, which the caller chooses.
pub(super) struct Exchange {
    author: u128,
    /// The count of the next message.
    next: u64,
    waiting: VecDeque<(u64, Content)>,
    /// Their counts rise.
    sent: VecDeque<Sent>,
    /// Questions for the position, and whether they were sent over this connection.
    asked: Vec<(u64, bool)>,
    welcomed: Option<Welcomed>,
    /// The newest place in the log that the server has told.
    newest: Option<Cursor>,
    answers: Vec<(u64, Answer)>,
}

impl Exchange {
    /// `author` is random: no other process has it.
    pub(super) fn new(author: u128) -> Self {
        Exchange {
            author,
            next: 1,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            asked: Vec::new(),
            welcomed: None,
            newest: None,
            answers: Vec::new(),
        }
    }

    /// Adds what is to be published.
    pub(super) fn publish(&mut self, id: u64, content: Content) {
        self.waiting.push_back((id, content));
    }

    /// Adds a question for the end of the log. `id` is not 0.
    pub(super) fn ask(&mut self, id: u64) {
        self.asked.push((id, false));
    }

    /// Whether any request has no answer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.asked.is_empty()
    }

    /// Whether the server has sent its welcome.
    pub(super) fn is_welcomed(&self) -> bool {
        self.welcomed.is_some()
    }

    /// Forgets a request without an answer.
    pub(super) fn give_up(&mut self, id: u64) -> GivenUp {
        self.waiting.retain(|(other, _)| *other != id);
        self.asked.retain(|(other, _)| *other != id);
        let before = self.sent.len();
        self.sent.retain(|sent| sent.id != id);
        if self.sent.len() < before { GivenUp::Sent } else { GivenUp::Unsent }
    }

    /// A connection was made: appends what the server must get first.
    pub(super) fn connected(&mut self, out: &mut Vec<u8>) {
        self.disconnected();
        let settled = self.sent.front().map_or(self.next, |sent| sent.count) - 1;
        let (version, role, author) = (VERSION, Role::Outsider, self.author);
        Frame::Hello { version, role, author, settled, commands: 0, position: None }.encode(out);
    }

    /// The connection was lost. What has no answer is sent again over the next one, unless the server has taken it.
    pub(super) fn disconnected(&mut self) {
        self.welcomed = None;
        self.sent.iter_mut().for_each(|sent| sent.current = false);
        self.asked.iter_mut().for_each(|(_, asked)| *asked = false);
    }

    /// Appends the frames that may be sent now. `now` is the present time of both clocks.
    pub(super) fn send(&mut self, now: (Instant, SystemTime), out: &mut Vec<u8>) {
        let Exchange { next, waiting, sent, asked, welcomed: Some(welcomed), answers, .. } = self else { return };
        for (token, asked) in asked.iter_mut().filter(|(_, asked)| !asked) {
            Frame::AskPosition { token: *token }.encode(out);
            *asked = true;
        }
        let mut too_long = Vec::new();
        for sent in sent.iter_mut().filter(|sent| !sent.current) {
            if welcomed.credit <= 0 || out.len() >= AHEAD {
                break;
            }
            sent.current = true;
            // Another server may accept less than the one before.
            if !welcomed.publish(sent.count, &sent.content, now, out) {
                too_long.push(sent.id);
            }
        }
        sent.retain(|sent| !too_long.contains(&sent.id));
        while welcomed.credit > 0 && out.len() < AHEAD {
            let Some((id, content)) = waiting.pop_front() else { break };
            if welcomed.publish(*next, &content, now, out) {
                sent.push_back(Sent { id, count: *next, content, current: true });
                *next += 1;
            } else {
                too_long.push(id);
            }
        }
        answers.extend(too_long.into_iter().map(|id| (id, Answer::Refused(Refusal::TooLong))));
    }

    /// Takes the frames at the beginning of `bytes`, and returns how many bytes they have. [`Exchange::send`] is to be called
    /// next.
    pub(super) fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Broken> {
        let mut taken = 0;
        while let Some((frame, length)) = protocol::decode(&bytes[taken..], LONGEST_ANSWER)? {
            taken += length;
            self.take(&frame, out)?;
        }
        Ok(taken)
    }

    /// The answers that have come.
    pub(super) fn answers(&mut self) -> impl Iterator<Item = (u64, Answer)> {
        self.answers.drain(..)
    }

    fn take(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
        if let Frame::Welcome(welcome) = frame {
            return self.welcome(welcome, out);
        }
        let Some(welcomed) = &mut self.welcomed else { return Err(Broken::Unexpected) };
        let (epoch, known) = (welcomed.epoch, welcomed.known);
        match *frame {
            Frame::Credit { bytes } => welcomed.credit = welcomed.credit.saturating_add(bytes.into()),
            Frame::Numbered { count, seq, run } => {
                let counts = count..count.saturating_add(run.into());
                self.answer(|sent| {
                    let seq = seq.checked_add(sent.count.checked_sub(count)?)?;
                    counts.contains(&sent.count).then_some(Answer::At(Cursor { epoch, seq }))
                });
                let newest = Cursor { epoch, seq: seq.saturating_add(u64::from(run).saturating_sub(1)) };
                self.newest = Some(newest);
            }
            Frame::Refused { count, reason } => {
                self.answer(|sent| (sent.count == count).then_some(Answer::Refused(reason)));
            }
            Frame::Position { token: BARRIER, .. } => {
                // The server knows that it has taken these, but not their numbers any more. A client that starts from an
                // earlier place misses nothing.
                let seq = self.newest.filter(|newest| newest.epoch == epoch).map_or(0, |newest| newest.seq);
                self.answer(|sent| (sent.count <= known).then_some(Answer::At(Cursor { epoch, seq })));
            }
            Frame::Position { token, position } => {
                let asked = self.asked.len();
                self.asked.retain(|(id, _)| *id != token);
                if self.asked.len() < asked {
                    let cursor = Cursor { epoch: Epoch::from(position.epoch), seq: position.last };
                    self.answers.push((token, Answer::At(cursor)));
                }
            }
            _ => return Err(Broken::Unexpected),
        }
        Ok(())
    }

    fn welcome(&mut self, welcome: &Welcome, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.welcomed.is_some() {
            return Err(Broken::Unexpected);
        }
        if welcome.version != VERSION {
            return Err(Broken::Version(welcome.version));
        }
        let (epoch, known) = (Epoch::from(welcome.position.epoch), welcome.count);
        self.welcomed =
            Some(Welcomed { epoch, known, credit: welcome.credit.into(), longest: welcome.longest as usize });
        // 0: it was refused.
        if welcome.seq > 0 {
            let cursor = Cursor { epoch, seq: welcome.seq };
            self.answer(|sent| (sent.count == known).then_some(Answer::At(cursor)));
        }
        let taken = self.sent.iter_mut().filter(|sent| sent.count <= known);
        if taken.map(|sent| sent.current = true).count() > 0 {
            Frame::AskPosition { token: BARRIER }.encode(out);
        }
        Ok(())
    }

    /// Answers the messages for which there is an answer.
    fn answer(&mut self, answer: impl Fn(&Sent) -> Option<Answer>) {
        let Exchange { sent, answers, .. } = self;
        sent.retain(|sent| match answer(sent) {
            Some(answer) => {
                answers.push((sent.id, answer));
                false
            }
            None => true,
        });
    }
}

impl Welcomed {
    /// Appends the frame; `false` if it is too long for the server.
    fn publish(&mut self, count: u64, content: &Content, now: (Instant, SystemTime), out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let fits = content.encode(count, now, out).is_ok();
        let length = out.len() - start;
        // What the frame has before the message: header and count.
        if !fits || length > self.longest.saturating_add(protocol::HEADER + 8) {
            out.truncate(start);
            return false;
        }
        self.credit -= length as i64;
        true
    }
}
