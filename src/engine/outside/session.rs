//! The frames of one connection, without a socket.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::super::hub::protocol::{self, Frame, OVERHEAD, Position, ProtocolError, Refusal, Role, VERSION, Welcome};
use super::authors::{Authors, Run};
use crate::base::lock::Lock;
use crate::channel::codec::{self, Decoded, Entry};
use crate::channel::{Channels, Command, Error, Kind, Post, Receipt};

/// Bytes of messages that a peer may send before it gets more credit.
pub(super) const CREDIT: u32 = 256 * 1024;

/// Frames are answered until this many bytes wait for the peer.
const ANSWERS: usize = 64 * 1024;

/// Why a connection ends.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("a frame that does not belong here")]
    Unexpected,
    #[error("version {0} of the protocol")]
    Version(u16),
    #[error("the same process has connected again")]
    Replaced,
    #[error("the log takes no messages")]
    Unavailable,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) channels: Arc<Channels>,
    pub(super) authors: Lock<Authors>,
}

/// One connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    /// The author, and the number of its connection. `None` before the first frame.
    author: Option<(u128, u64)>,
    /// Bytes of messages for which the peer has got no credit yet.
    owed: u32,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Session { shared, author: None, owed: 0 }
    }

    /// Whether the peer has said what it is.
    pub(super) fn greeted(&self) -> bool {
        self.author.is_some()
    }

    /// Bytes of the longest frame.
    pub(super) fn longest(&self) -> usize {
        self.shared.channels.limits().log_bytes.min(u32::MAX as usize - OVERHEAD) + OVERHEAD
    }

    /// Takes the frames at the beginning of `bytes`, and appends the answers to `out`. Returns how many bytes were taken: not
    /// all whole frames, if `out` has got long. After an error, `out` is to be sent, and the connection to be closed.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: (Instant, SystemTime),
        out: &mut Vec<u8>,
    ) -> (usize, Result<(), Ended>) {
        let mut taken = 0;
        let mut answers = Answers { out, run: None };
        let longest = self.longest();
        let mut behind = false;
        let result = loop {
            if answers.out.len() >= ANSWERS {
                break Ok(());
            }
            match protocol::decode(&bytes[taken..], longest) {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
                Ok(Some((frame, length))) => {
                    if let Err(ended) = self.take(&frame, now, &mut answers, &mut behind) {
                        break Err(ended);
                    }
                    if matches!(frame, Frame::Publish { .. }) {
                        self.owed = self.owed.saturating_add(length as u32);
                    }
                    taken += length;
                }
            }
        };
        answers.end_run();
        if self.owed >= CREDIT / 4 {
            Frame::Credit { bytes: std::mem::take(&mut self.owed) }.encode(answers.out);
        }
        if behind {
            self.shared.channels.take_over();
        }
        (taken, result)
    }

    fn take(
        &mut self,
        frame: &Frame<'_>,
        now: (Instant, SystemTime),
        answers: &mut Answers<'_>,
        behind: &mut bool,
    ) -> Result<(), Ended> {
        match (self.author, frame) {
            (None, Frame::Hello { version, role: Role::Outsider, author, settled, .. }) => {
                self.welcome(*author, *settled, answers);
                if *version == VERSION { Ok(()) } else { Err(Ended::Version(*version)) }
            }
            (Some((author, session)), Frame::Publish { count, message }) => {
                let mut authors = self.shared.authors.lock();
                let author = authors.get(author, session).ok_or(Ended::Replaced)?;
                if *count <= author.count {
                    // It was sent again, but had been taken before. 0: its number is forgotten.
                    let seq = author.seq(*count);
                    if seq > 0 {
                        answers.numbered(*count, seq);
                    }
                    return Ok(());
                }
                match publish(&self.shared.channels, message, now)? {
                    Ok((seq, late)) => {
                        author.numbered(*count, seq);
                        answers.numbered(*count, seq);
                        *behind |= late;
                    }
                    Err(reason) => {
                        author.count = *count;
                        answers.frame(&Frame::Refused { count: *count, reason });
                    }
                }
                Ok(())
            }
            (Some(_), Frame::AskPosition { token }) => {
                answers.frame(&Frame::Position { token: *token, position: self.position() });
                Ok(())
            }
            _ => Err(Ended::Unexpected),
        }
    }

    fn welcome(&mut self, number: u128, settled: u64, answers: &mut Answers<'_>) {
        let mut authors = self.shared.authors.lock();
        let session = authors.connect(number);
        self.author = Some((number, session));
        let Some(author) = authors.get(number, session) else { return };
        answers.frame(&Frame::Welcome(Welcome {
            version: VERSION,
            position: self.position(),
            count: author.count,
            seq: author.seq(author.count),
            commands: 0,
            credit: CREDIT,
            longest: (self.longest() - OVERHEAD) as u32,
        }));
        author.since(settled).for_each(|run| answers.frame(&run.frame()));
    }

    fn position(&self) -> Position {
        let cursor = self.shared.channels.cursor();
        Position { epoch: cursor.epoch.into(), last: cursor.seq }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((author, session)) = self.author {
            self.shared.authors.lock().disconnect(author, session);
        }
    }
}

/// Publishes a message, or obeys a command. Returns its number, and whether the log must be taken over.
fn publish(
    channels: &Channels,
    bytes: &[u8],
    now: (Instant, SystemTime),
) -> Result<Result<(u64, bool), Refusal>, Ended> {
    match codec::decode_entry(bytes, usize::MAX) {
        // Only the server itself makes messages of that kind.
        Ok(Some((Entry::Message(message), length))) if length == bytes.len() && message.draft.kind != Kind::Server => {
            post(channels, &message, now)
        }
        Ok(Some((Entry::Command(Command::Disconnect { member, done: None }), length))) if length == bytes.len() => {
            channels.dismiss(&member).map_err(|_| Ended::Unavailable)?;
            // Its own number or a later one. Nobody asks for it: the answer says that the command was obeyed.
            Ok(Ok((channels.cursor().seq, false)))
        }
        _ => Ok(Err(Refusal::Broken)),
    }
}

fn post(
    channels: &Channels,
    decoded: &Decoded<'_>,
    now: (Instant, SystemTime),
) -> Result<Result<(u64, bool), Refusal>, Ended> {
    match channels.post(&decoded.draft, decoded.published_at(now)) {
        Ok(Post::Done(posted)) => match posted.receipt {
            Receipt::Known(cursor) => Ok(Ok((cursor.seq, posted.behind))),
            // The engine of a single process numbers at once.
            Receipt::Pending(_) => Err(Ended::Unavailable),
        },
        Ok(Post::Full(_)) | Err(Error::Engine(_)) => Err(Ended::Unavailable),
        Err(Error::TooLarge { .. }) => Ok(Err(Refusal::TooLong)),
        Err(Error::TooManyChannels(_)) => Ok(Err(Refusal::TooManyChannels)),
        Err(_) => Ok(Err(Refusal::Broken)),
    }
}

/// What is answered. Numbers in a row are one frame.
struct Answers<'a> {
    out: &'a mut Vec<u8>,
    run: Option<Run>,
}

impl Answers<'_> {
    fn numbered(&mut self, count: u64, seq: u64) {
        if !self.run.as_mut().is_some_and(|run| run.extend(count, seq)) {
            self.end_run();
            self.run = Some(Run::one(count, seq));
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        self.end_run();
        frame.encode(self.out);
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            run.frame().encode(self.out);
        }
    }
}
