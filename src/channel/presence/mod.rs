//! The members of channels, each with any number of clients.
//!
//! A user with three tabs is one member. The member leaves when the last tab has been gone for a while. So a page that
//! reloads causes no leave and no join.
//!
//! | module | subject |
//! |---|---|
//! | `store` | [`Presence`]: what clients do, and what the engine says of members |
//! | `memberships` | the clients of this process, and the members that they are; changes at once |
//! | `members` | the members of all processes; changes only when the engine says so |
//! | `pending` | the changes that the engine has not taken yet |
//! | `announcement` | the messages by which readers hear of a member |
//!
//! The engine sends each [`super::Change`] to all processes, in the same order. So all have the same members, and each
//! tells its own readers of those that come and go.

mod announcement;
mod members;
mod memberships;
mod pending;
mod store;

pub(super) use announcement::Announcement;
pub use members::{MemberChange, Members};
pub(super) use store::{Applied, Presence};
