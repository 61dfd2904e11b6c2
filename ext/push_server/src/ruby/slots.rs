//! `PushServer::NativeSlots`: the statistics of several processes, in memory that they share.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use magnus::typed_data::Obj;
use magnus::{Error, Module, Object, RArray, RHash, RModule, Ruby, function, method};
use push_core::base::fork::OwnerProcess;
use push_core::base::stats::slots::Slots;
use push_core::base::stats::{Stats, StatsHandle};

use crate::support::cell::GvlCell;
use crate::support::classes::define_private;
use crate::support::errors::{argument_error, io_error};
use crate::support::statistics;

/// Processes that may have a slot at the same time: workers, and at a restart their successors. A slot takes no memory before
/// its first use.
const PROCESSES: usize = 1024;

/// Where this process counts, since [`NativeSlots::enter`].
static OWN: GvlCell<Option<(OwnerProcess, StatsHandle)>> = GvlCell::new(None);

#[magnus::wrap(class = "PushServer::NativeSlots", free_immediately)]
struct NativeSlots(Arc<Slots>);

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define_private::<NativeSlots>(ruby, module, "NativeSlots")?;
    class.const_set("SIZE", Slots::size(PROCESSES))?;
    class.define_singleton_method("open", function!(NativeSlots::open, 1))?;
    class.define_method("take", method!(NativeSlots::take, 2))?;
    class.define_method("release", method!(NativeSlots::release, 1))?;
    class.define_method("keep", method!(NativeSlots::keep, 1))?;
    class.define_method("count", method!(NativeSlots::count, 1))?;
    class.define_method("enter", method!(NativeSlots::enter, 1))?;
    class.define_method("totals", method!(NativeSlots::totals, 0))
}

/// The slots of a memory file. `None` if they have another layout, or the file cannot be mapped.
pub fn open(file: BorrowedFd<'_>) -> std::io::Result<Arc<Slots>> {
    Slots::open(file, PROCESSES).map(Arc::new)
}

/// Where the server of this process counts: in its slot, if it has one.
pub fn own_counters(ruby: &Ruby) -> StatsHandle {
    let own = OWN.with(ruby, |own| own.clone());
    own.filter(|(owner, _)| !owner.forked()).map(|(_, stats)| stats).unwrap_or_default()
}

impl NativeSlots {
    fn open(ruby: &Ruby, file: i32) -> Result<Obj<Self>, Error> {
        if file < 0 {
            return Err(argument_error(ruby, "not a file descriptor"));
        }
        // SAFETY: it is borrowed for this call, and the caller keeps the IO open that it belongs to.
        let slots = open(unsafe { BorrowedFd::borrow_raw(file) }).map_err(|error| io_error(ruby, error))?;
        Ok(ruby.obj_wrap(NativeSlots(slots)))
    }

    fn take(&self, process: u32, worker: u32) -> bool {
        self.0.take(process, worker).is_some()
    }

    fn release(&self, process: u32) {
        self.0.release(process);
    }

    fn keep(&self, processes: RArray) -> Result<(), Error> {
        let kept = processes.to_vec::<u32>()?;
        let ended = self.0.owners().into_iter().filter(|owner| !kept.contains(&owner.process));
        ended.for_each(|owner| self.0.release(owner.process));
        Ok(())
    }

    fn count(ruby: &Ruby, this: Obj<Self>, name: magnus::Symbol) -> Result<(), Error> {
        let place = Stats::TABLE.iter().position(|row| name.name().is_ok_and(|name| name == row.name));
        let counter = place.and_then(|place| this.0.stats(0)?.numbers().get(place).map(|(_, counter)| *counter));
        counter.ok_or_else(|| argument_error(ruby, "no such counter"))?.add();
        Ok(())
    }

    fn enter(ruby: &Ruby, this: Obj<Self>, process: u32) -> bool {
        let own = this.0.enter(process).and_then(|slot| StatsHandle::of_slot(Arc::clone(&this.0), slot));
        let entered = own.is_some();
        OWN.with(ruby, |place| *place = own.map(|stats| (OwnerProcess::current(), stats)));
        entered
    }

    fn totals(ruby: &Ruby, this: Obj<Self>) -> Result<RHash, Error> {
        let snapshot = this.0.snapshot();
        let workers = ruby.ary_new();
        for (owner, stats) in &snapshot.workers {
            let worker = ruby.hash_new();
            worker.aset(ruby.to_symbol("number"), owner.worker)?;
            worker.aset(ruby.to_symbol("process"), owner.process)?;
            worker.aset(ruby.to_symbol("pid"), owner.pid)?;
            worker.aset(ruby.to_symbol("stats"), statistics::counted(ruby, stats)?)?;
            workers.push(worker)?;
        }
        let totals = ruby.hash_new();
        totals.aset(ruby.to_symbol("stats"), statistics::counted(ruby, &snapshot.sum)?)?;
        totals.aset(ruby.to_symbol("histograms"), statistics::durations(ruby, &snapshot.sum)?)?;
        totals.aset(ruby.to_symbol("workers"), workers)?;
        Ok(totals)
    }
}
