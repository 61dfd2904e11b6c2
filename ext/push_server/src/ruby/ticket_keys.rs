//! `PushServer::NativeTicketKeys`: the keys of TLS session tickets, in memory that processes may share.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use magnus::typed_data::Obj;
use magnus::{Error, Module, Object, RModule, Ruby, function, method};
use push_core::base::ticket_keys::TicketKeys;

use crate::support::classes::define_private;
use crate::support::errors::{argument_error, io_error};

#[magnus::wrap(class = "PushServer::NativeTicketKeys", free_immediately)]
pub struct NativeTicketKeys(pub Arc<TicketKeys>);

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define_private::<NativeTicketKeys>(ruby, module, "NativeTicketKeys")?;
    class.const_set("SIZE", TicketKeys::SIZE)?;
    class.define_singleton_method("open", function!(NativeTicketKeys::open, 1))?;
    class.define_method("renew", method!(NativeTicketKeys::renew, 0))
}

impl NativeTicketKeys {
    fn open(ruby: &Ruby, file: i32) -> Result<Obj<Self>, Error> {
        if file < 0 {
            return Err(argument_error(ruby, "not a file descriptor"));
        }
        // SAFETY: it is borrowed for this call, and the caller keeps the IO open that it belongs to.
        let keys = TicketKeys::open(unsafe { BorrowedFd::borrow_raw(file) }).map_err(|error| io_error(ruby, error))?;
        Ok(ruby.obj_wrap(NativeTicketKeys(Arc::new(keys))))
    }

    fn renew(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        this.0.renew().map_err(|error| io_error(ruby, error))
    }
}
