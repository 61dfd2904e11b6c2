//! `PushServer::NativeLifeline`: the thread that watches the supervisor of this process.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RModule, Ruby, Value, function};
use push_core::Server;
use push_core::lifeline::{Lifeline, Serving};

use crate::support::cell::GvlCell;
use crate::support::errors::{argument_error, io_error};

static PROCESS: GvlCell<Process> = GvlCell::new(Process { lifeline: None, server: None, on_hub: None });

/// In a forked child, both belong to the parent until it has its own.
struct Process {
    lifeline: Option<Lifeline>,
    /// The server that was made last.
    server: Option<Weak<Server>>,
    /// Where connections to the hub go.
    on_hub: Option<TakeHub>,
}

type TakeHub = Arc<dyn Fn(OwnedFd) + Send + Sync>;

struct Guarded(Weak<Server>);

impl Guarded {
    /// The server, while it belongs to this process.
    fn server(&self) -> Option<Arc<Server>> {
        self.0.upgrade().filter(|server| !server.forked())
    }
}

impl Serving for Guarded {
    fn close_listeners(&self) {
        if let Some(server) = self.server() {
            server.retire_all();
        }
    }

    fn drain(&self, grace: Duration) {
        if let Some(server) = self.server() {
            server.drain(Instant::now() + grace, false, &crossbeam_channel::never());
        }
    }
}

pub fn init(_ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let lifeline = module.define_module("NativeLifeline")?;
    lifeline.define_singleton_method("start", function!(start, 2))?;
    lifeline.define_singleton_method("stop", function!(stop, 0))?;
    let _: Value = module.funcall("private_constant", ("NativeLifeline",))?;
    Ok(())
}

/// The server of this process, from now on.
pub fn protect(ruby: &Ruby, server: &Arc<Server>) {
    let server = Arc::downgrade(server);
    PROCESS.with(ruby, |process| {
        if let Some(lifeline) = &process.lifeline {
            lifeline.protect(Guarded(Weak::clone(&server)));
        }
        process.server = Some(server);
    });
}

/// Connections to the hub go to `take` from now on.
pub fn on_hub(ruby: &Ruby, take: impl Fn(OwnedFd) + Send + Sync + 'static) {
    let take: TakeHub = Arc::new(take);
    PROCESS.with(ruby, |process| {
        if let Some(lifeline) = &process.lifeline {
            let take = Arc::clone(&take);
            lifeline.on_hub(move |socket| take(socket));
        }
        process.on_hub = Some(take);
    });
}

fn start(ruby: &Ruby, descriptor: i32, name: String) -> Result<(), Error> {
    if descriptor < 0 {
        return Err(argument_error(ruby, "not a file descriptor"));
    }
    // SAFETY: it is borrowed for this call, and the caller keeps the IO open that it belongs to.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let socket = socket.try_clone_to_owned().map_err(|error| io_error(ruby, error))?;
    let lifeline = Lifeline::start(socket, &name).map_err(|error| io_error(ruby, error))?;
    let old = PROCESS.with(ruby, |process| {
        if let Some(server) = &process.server {
            lifeline.protect(Guarded(Weak::clone(server)));
        }
        if let Some(take) = process.on_hub.clone() {
            lifeline.on_hub(move |socket| take(socket));
        }
        process.lifeline.replace(lifeline)
    });
    drop(old);
    Ok(())
}

fn stop(ruby: &Ruby) {
    drop(PROCESS.with(ruby, |process| process.lifeline.take()));
}
