//! The head of a request: request line and header fields, in one allocation.
//!
//! Each request makes a head, gives it to another thread, and looks up a few fields in it. For that, `http::request::Parts` is
//! too much: it has a hash table, and a counted reference for each value. With eight fields, five look-ups in it cost 820
//! instructions, and dropping it costs 1350; here they cost 180, and one call of free.
//!
//! | module | subject |
//! |---|---|
//! | [`head`] | the head: bytes, and where in them its parts are |
//! | [`fields`] | where the header fields are: looking them up, changing them |
//! | [`parse`] | making a head, of bytes or of what a library has parsed |
//! | [`method`] | the methods that the server knows |
//! | [`target`] | what a request is for: path, query, and perhaps scheme and authority |

mod fields;
#[cfg(test)]
pub(crate) mod for_tests;
mod head;
mod method;
mod parse;
mod target;
#[cfg(test)]
mod tests;

pub use head::RequestHead;
pub use method::Method;
