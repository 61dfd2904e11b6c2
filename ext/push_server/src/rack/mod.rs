//! Rack's values: the env of a request, and what an app returns.
//!
//! | module | subject |
//! |---|---|
//! | [`env`] | the Rack env |
//! | [`env_template`] | what the envs of a listener have in common |
//! | [`response`] | `[status, headers, body]` |

pub mod env;
pub mod env_template;
pub mod response;
