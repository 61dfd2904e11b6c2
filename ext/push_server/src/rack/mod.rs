//! Rack's values: the env of a request, and what an app returns.
//!
//! | module | subject |
//! |---|---|
//! | [`env`] | the Rack env |
//! | [`env_template`] | what the envs of a listener have in common |
//! | [`env_layout`] | what the envs with the same keys have in common |
//! | [`env_words`] | Strings that many envs have |
//! | [`response`] | `[status, headers, body]` |
//! | [`body`] | how a body is to be sent |
//! | [`streamed_body`] | a body that is sent part by part |
//! | [`hijack`] | the socket of a connection becomes the app's |

pub mod body;
pub mod env;
pub mod env_layout;
pub mod env_template;
pub mod env_words;
pub mod hijack;
pub mod response;
pub mod streamed_body;
