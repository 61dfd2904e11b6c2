use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::truth::{Content, KEPT, Truth, is_command, is_kept};
use super::wire::Wire;
use crate::channel::{Command, Draft, Limits, Message, codec};
use crate::engine::hub::protocol::{Frame, Role, VERSION, Welcome};

/// An outsider: what it has published, and what it knows.
#[derive(Debug)]
pub(super) struct Author {
    pub(super) number: u128,
    count: u64,
    /// Messages without an answer.
    pub(super) unsettled: VecDeque<u64>,
    /// How many of them were sent on the present connection.
    sent: usize,
    credit: i64,
    pub(super) settled: u64,
    pub(super) welcome: bool,
    /// The epoch, since the last welcome.
    pub(super) epoch: u64,
}

impl Author {
    pub(super) fn new(number: u128) -> Self {
        let unsettled = VecDeque::new();
        Author { number, count: 0, unsettled, sent: 0, credit: 0, settled: 0, welcome: false, epoch: 0 }
    }

    pub(super) fn hello(&mut self, wire: &mut Wire) {
        (self.welcome, self.sent) = (false, 0);
        let (author, settled) = (self.number, self.settled);
        wire.send(&Frame::Hello {
            version: VERSION,
            role: Role::Outsider,
            author,
            settled,
            commands: 0,
            position: None,
        });
    }

    pub(super) fn publish(&mut self) {
        self.count += 1;
        self.unsettled.push_back(self.count);
    }

    /// Sends what may be sent, at most `most` messages.
    pub(super) fn pump(&mut self, wire: &mut Wire, most: usize) {
        for _ in 0..most {
            if !self.welcome || self.credit <= 0 {
                return;
            }
            let Some(count) = self.unsettled.get(self.sent).copied() else { return };
            let mut bytes = Vec::new();
            Frame::Publish { count, message: &entry_of((self.number, count)) }.encode(&mut bytes);
            self.credit -= bytes.len() as i64;
            wire.send_bytes(&bytes);
            self.sent += 1;
        }
    }

    /// Takes a frame of the hub.
    pub(super) fn take(&mut self, frame: &Frame<'_>, truth: &mut Truth) {
        match frame {
            Frame::Welcome(Welcome { position, count, credit, .. }) => {
                (self.welcome, self.credit, self.epoch) = (true, i64::from(*credit), position.epoch);
                // These have numbers. They come with the log, or were lost with their answers.
                while self.unsettled.front().is_some_and(|own| own <= count) {
                    self.unsettled.pop_front();
                }
                self.settled = self.settled.max(*count);
            }
            Frame::Credit { bytes } => self.credit += i64::from(*bytes),
            Frame::Refused { .. } => panic!("{frame:?}"),
            Frame::Numbered { count, seq, run } => {
                for index in 0..u64::from(*run) {
                    let (count, seq) = (count + index, seq + index);
                    truth.answer(self.epoch, seq, (self.number, count));
                    if self.unsettled.front() == Some(&count) {
                        self.unsettled.pop_front();
                        self.sent -= 1;
                    }
                    self.settled = self.settled.max(count);
                }
            }
            _ => {}
        }
    }
}

/// A message, with its payload.
pub(super) fn draft_of(content: Content, payload: &str) -> Draft<'_> {
    Draft::text(if is_kept(content) { KEPT } else { "live" }, payload.as_bytes())
}

/// The bytes of a message, or of a command.
fn entry_of(content: Content) -> Vec<u8> {
    if !is_command(content) {
        return bytes_of(content);
    }
    let mut bytes = Vec::new();
    let member = format!("{} {}", content.0, content.1).into();
    codec::encode_command(&Command::Disconnect { member, done: None }, &mut bytes).unwrap();
    bytes
}

/// The bytes of a message.
pub(super) fn bytes_of(content: Content) -> Vec<u8> {
    let payload = format!("{} {}", content.0, content.1);
    let now = (Instant::now(), std::time::UNIX_EPOCH + Duration::from_secs(1));
    let message = Message::new(&draft_of(content, &payload), &Limits::default(), now.0).unwrap();
    let mut bytes = Vec::new();
    codec::encode(&message, now, &mut bytes).unwrap();
    bytes
}

/// The message with this payload.
pub(super) fn payload_content(payload: &[u8]) -> Content {
    let text = std::str::from_utf8(payload).unwrap();
    let (author, count) = text.split_once(' ').unwrap();
    (author.parse().unwrap(), count.parse().unwrap())
}
