//! `PushServer::NativeHub`: the loop of the hub's process.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RArray, RHash, RModule, Ruby, Value, function};
use push_core::base::stats::StatsHandle;
use push_core::engine::hub::server::{Driver, NumberStore, Outcome, Settings};
use push_core::metrics::{Figures, Sockets, Source};

use crate::ruby::slots;
use crate::support::descriptor::duplicate;
use crate::support::errors::io_error;
use crate::support::gvl::wait_without_gvl;
use crate::support::settings::parse;

pub fn init(module: RModule) -> Result<(), Error> {
    let hub = module.define_module("NativeHub")?;
    let _: Value = module.funcall("private_constant", ("NativeHub",))?;
    hub.const_set("STORE_SIZE", NumberStore::SIZE)?;
    hub.define_singleton_method("run", function!(run, 6))
}

/// Leaves the GVL while it runs.
fn run(
    ruby: &Ruby,
    link: i32,
    publish: Option<i32>,
    metrics: RArray,
    store: i32,
    statistics: i32,
    settings: RHash,
) -> Result<(), Error> {
    let (settings, _) = parse(ruby, settings)?;
    let settings = Settings::from(&settings.limits);
    let (link, store) = (duplicate(ruby, link)?, duplicate(ruby, store)?);
    let publish = publish.map(|publish| duplicate(ruby, publish)).transpose()?;
    let numbers = NumberStore::map(store).map_err(|error| io_error(ruby, error))?;
    let metrics = metrics.to_vec::<i32>()?.into_iter().map(|listener| duplicate(ruby, listener));
    let metrics = metrics.collect::<Result<Vec<_>, Error>>()?;
    let (mut driver, interrupt) =
        Driver::new(link, publish, numbers, settings).map_err(|error| io_error(ruby, error))?;
    let slots = slots::open(duplicate(ruby, statistics)?.as_fd());
    let slots = slots.inspect_err(|error| log::error!("the hub has no access to the statistics: {error}")).ok();
    // What has no worker is counted where the counts of the ended ones are.
    let own = slots.clone().and_then(|slots| StatsHandle::of_slot(slots, 0));
    own.into_iter().for_each(|stats| driver.count_in(stats));
    if !metrics.is_empty() {
        let source: Source = Arc::new(move || slots.as_ref().map(|slots| Figures::of_slots(slots)));
        driver.serve_metrics(Sockets::new(metrics, source).map_err(|error| io_error(ruby, error))?);
    }
    // Only this thread locks it.
    let driver = Mutex::new(driver);
    let turn = || match driver.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).run() {
        Ok(Outcome::Interrupted) => None,
        Ok(Outcome::Ended) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    };
    wait_without_gvl(ruby, turn, || interrupt.send())?.map_err(|error| io_error(ruby, error))
}
