//! The channels of a process: the methods that other modules call.
//!
//! | module | subject |
//! |---|---|
//! | `state` | [`Channels`]: the locks, the engine's events, deliver, sweep |
//! | `publish` | a message goes to the engine; how far the engine is with it |
//! | `catch_up` | cursors that lie ahead of this process |
//! | `inspect` | history, names, figures |
//! | `members` | the members of channels, and their announcements |
//! | `readers` | the methods for a [`super::Reader`] |

mod catch_up;
mod inspect;
mod members;
mod publish;
mod readers;
mod state;

pub use catch_up::{CATCH_UP, CatchUp};
pub use inspect::{Figures, History};
pub use publish::{Post, Posted, Receipt, Unsent};
pub use state::Channels;
