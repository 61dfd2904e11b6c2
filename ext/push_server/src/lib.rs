//! The Ruby extension of push_server.

use magnus::{Error, Ruby};

/// Called by Ruby when the extension is required.
#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    ruby.define_module("PushServer")?;
    Ok(())
}
