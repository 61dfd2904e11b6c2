//! What a reader subscribes, and how.

use super::cursor::Since;
use super::draft::Kind;

/// What is subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The channel of this name.
    Channel(&'a str),
    /// All channels whose names match, now and later. Nothing is kept for those who come back,
    /// so resuming one is a gap unless nothing at all was published.
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
    /// From where on; `None` is the cursor that the client came with.
    pub since: Option<Since>,
    /// As whom, in channels with presence.
    pub member: Option<Member<'a>>,
    /// Which frames a raw WebSocket gets, whatever was published: text or binary. `None` is as it
    /// was published; so are bytes that are no text.
    pub frames: Option<Kind>,
}

impl<'a> Subscription<'a> {
    /// To one channel, from the client's cursor on, as nobody.
    pub fn to(channel: &'a str) -> Self {
        Subscription { target: Target::Channel(channel), since: None, member: None, frames: None }
    }
}

/// Who subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// What tells members apart: a user's id.
    pub name: &'a str,
    /// What others are told of the member: JSON, which the caller has made.
    pub info: &'a str,
}
