//! What a reader subscribes to, and how.

use super::cursor::Since;
use super::draft::Kind;

/// What is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The channel of this name.
    Channel(&'a str),
    /// All channels whose names match, now and later. A pattern has no history, so a resumed one is a gap, unless
    /// nothing was published in between.
    Pattern(&'a str),
}

impl<'a> Target<'a> {
    pub(super) fn name(self) -> &'a str {
        let (Target::Channel(name) | Target::Pattern(name)) = self;
        name
    }
}

/// How something is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// What.
    pub target: Target<'a>,
    /// Where it starts. `None` means at the cursor that the client has sent.
    pub since: Option<Since>,
    /// The member that the reader is, in channels with presence.
    pub member: Option<Member<'a>>,
    /// Which frames a raw WebSocket gets: text or binary. `None` means as the message was published. Bytes that are not
    /// UTF-8 are always sent as binary frames.
    pub frames: Option<Kind>,
}

impl<'a> Subscription<'a> {
    /// To one channel, from the client's cursor on, without a member.
    pub fn to(channel: &'a str) -> Self {
        Subscription { target: Target::Channel(channel), since: None, member: None, frames: None }
    }
}

/// A member of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The member's name, such as a user's id. Each member has its own.
    pub name: &'a str,
    /// What other clients are told about the member: JSON, which the caller has made.
    pub info: &'a str,
}
