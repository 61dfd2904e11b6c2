//! `PushServer::SpoolReservation`: a request body's part of `max_spooled_total`, for `PushServer::SpooledInput`.

use std::sync::Arc;

use magnus::typed_data::Obj;
use magnus::{Error, Module, RModule, Ruby, method};
use push_core::http::budget;

use crate::support::cell::GvlCell;
use crate::support::classes::define_private;

/// The bytes count while the file is open in this process. `release` gives them back, and the garbage collector does if
/// it frees this object.
#[magnus::wrap(class = "PushServer::SpoolReservation", free_immediately)]
pub struct SpoolReservation(GvlCell<Option<Arc<budget::Reservation>>>);

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    let class = define_private::<SpoolReservation>(ruby, module, "SpoolReservation")?;
    class.define_method("release", method!(SpoolReservation::release, 0))?;
    class.define_method("share", method!(SpoolReservation::share, 0))
}

impl SpoolReservation {
    pub fn wrap(ruby: &Ruby, reservation: budget::Reservation) -> Obj<Self> {
        ruby.obj_wrap(SpoolReservation(GvlCell::new(Some(Arc::new(reservation)))))
    }

    fn release(ruby: &Ruby, this: Obj<Self>) {
        drop(this.0.with(ruby, Option::take));
    }

    fn share(ruby: &Ruby, this: Obj<Self>) -> Obj<Self> {
        let shared = this.0.with(ruby, |held| held.clone());
        ruby.obj_wrap(SpoolReservation(GvlCell::new(shared)))
    }
}
