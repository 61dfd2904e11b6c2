//! The hub itself.
//!
//! A message is numbered, put into the log, and written to all workers. A worker is a place in the log, and has no queue of
//! copies: all workers get slices of the same bytes. The hub waits for no peer.
//!
//! | module | subject |
//! |---|---|
//! | `state` | the [`Hub`]: a state machine without I/O, and its frames |
//! | `settings` | its bounds, and how it begins |
//! | `connections` | connections of peers begin and end |
//! | `serve` | a peer is welcomed; a message gets its number |
//! | `members` | commands get their numbers; members expire, and leave with their process |
//! | `delivery` | bytes for the sockets; answers, credit, workers that are stuck |
//! | `driver` | a hub with its sockets, and its loop |
//! | `sockets` | the sockets of the peers |
//! | `link`, `orders` | the connection to the supervisor, and what it tells the hub |
//! | `recovery` | a hub takes the place of another one |
//! | `relay`, `routes`, `parcels` | parcels from one worker to another one: which connection they take, and those that wait |
//! | `report` | what one process has kept, and how several become one log |
//! | `numbers` | the number store, which outlives the hub |
//! | `tail` | the newest part of the log, as bytes |
//! | `image` | a log as a whole, as frames |
//! | `peer` | one peer: its place, and what waits for its socket |
//! | `authors` | which messages of an author are known |
//! | `bounds` | what bounds an outsider |
//! | `rules` | the rules of channels |

mod authors;
mod bounds;
mod connections;
mod delivery;
mod driver;
mod image;
mod link;
mod members;
mod numbers;
mod orders;
mod parcels;
mod peer;
mod recovery;
mod relay;
mod report;
mod routes;
mod rules;
mod serve;
mod settings;
mod sockets;
mod state;
mod tail;
#[cfg(test)]
mod tests;

pub use delivery::Flushed;
pub use driver::{Driver, Interrupt, Outcome};
pub use numbers::NumberStore;
pub use peer::PeerId;
pub use settings::{Settings, Start};
pub use state::Hub;
