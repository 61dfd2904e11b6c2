//! `PushServer::NativeHub`: the loop of the hub's process.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Mutex;

use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RHash, RModule, Ruby, Value, function};
use push_core::engine::hub::server::{Driver, NumberStore, Outcome, Settings};

use crate::support::errors::{argument_error, io_error};
use crate::support::gvl::wait_without_gvl;
use crate::support::settings::parse;

pub fn init(module: RModule) -> Result<(), Error> {
    let hub = module.define_module("NativeHub")?;
    let _: Value = module.funcall("private_constant", ("NativeHub",))?;
    hub.const_set("STORE_SIZE", NumberStore::SIZE)?;
    hub.define_singleton_method("run", function!(run, 4))
}

/// Leaves the GVL while it runs.
fn run(ruby: &Ruby, link: i32, publish: Option<i32>, store: i32, settings: RHash) -> Result<(), Error> {
    let (settings, _) = parse(ruby, settings)?;
    let settings = Settings::from(&settings.limits);
    let (link, store) = (duplicate(ruby, link)?, duplicate(ruby, store)?);
    let publish = publish.map(|publish| duplicate(ruby, publish)).transpose()?;
    let numbers = NumberStore::map(store).map_err(|error| io_error(ruby, error))?;
    let (driver, interrupt) = Driver::new(link, publish, numbers, settings).map_err(|error| io_error(ruby, error))?;
    // Only this thread locks it.
    let driver = Mutex::new(driver);
    let turn = || match driver.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).run() {
        Ok(Outcome::Interrupted) => None,
        Ok(Outcome::Ended) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    };
    wait_without_gvl(ruby, turn, || interrupt.send())?.map_err(|error| io_error(ruby, error))
}

/// A duplicate, so that nothing here depends on the Ruby object.
fn duplicate(ruby: &Ruby, descriptor: i32) -> Result<OwnedFd, Error> {
    if descriptor < 0 {
        return Err(argument_error(ruby, "not a file descriptor"));
    }
    // SAFETY: it is borrowed for this call, and the caller keeps the IO open that it belongs to.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    descriptor.try_clone_to_owned().map_err(|error| io_error(ruby, error))
}
