//! `PushServer::NativeProcess`: what Ruby lacks to supervise processes.

use std::os::fd::IntoRawFd;

use magnus::value::ReprValue;
use magnus::{Error, Module, Object, RModule, RString, Ruby, Value, function};
use push_core::base::output::{Output, STDERR, STDOUT};
use push_core::base::process;

use crate::support::errors::io_error;
use crate::support::gvl::without_gvl_for_a_moment;
use crate::support::logger;

pub fn init(module: RModule) -> Result<(), Error> {
    let native = module.define_module("NativeProcess")?;
    let _: Value = module.funcall("private_constant", ("NativeProcess",))?;
    native.define_singleton_method("become_subreaper", function!(process::become_subreaper, 0))?;
    native.define_singleton_method("memory_file", function!(memory_file, 2))?;
    native.define_singleton_method("fork_error", function!(fork_error, 0))?;
    native.define_singleton_method("write_stdout", function!(write_stdout, 1))?;
    native.define_singleton_method("write_stderr", function!(write_stderr, 1))?;
    native.define_singleton_method("log_name=", function!(set_log_name, 1))
}

/// The number of the system's error.
fn fork_error() -> Option<i32> {
    process::fork_error().and_then(|error| error.raw_os_error())
}

fn write_stdout(ruby: &Ruby, lines: RString) {
    write(ruby, &STDOUT, lines);
}

fn write_stderr(ruby: &Ruby, lines: RString) {
    write(ruby, &STDERR, lines);
}

fn write(ruby: &Ruby, output: &Output, lines: RString) {
    // SAFETY: nothing of Ruby runs while the bytes are borrowed.
    let Some(rest) = output.begin(unsafe { lines.as_slice() }) else { return };
    let mut rest = Some(rest);
    let mut finish = || rest.take().map(|rest| output.finish(rest));
    if without_gvl_for_a_moment(ruby, &mut finish).is_none() {
        finish(); // An interrupt is pending. It waits for this moment, too.
    }
}

fn set_log_name(name: Option<String>) {
    logger::set_name(name.as_deref());
}

fn memory_file(ruby: &Ruby, name: String, size: u64) -> Result<i32, Error> {
    let file = process::memory_file(&name, size).map_err(|error| io_error(ruby, error))?;
    Ok(file.into_raw_fd())
}
