//! Releasing Ruby's global lock (the GVL), and taking it again. No other file does.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use crossbeam_channel::{Receiver, Sender, bounded};
use magnus::rb_sys::protect;
use magnus::{Error, Ruby};
use rb_sys::{Qnil, RB_NOGVL_INTR_FAIL, rb_nogvl, rb_thread_check_ints};

struct Call<F, R> {
    work: Option<F>,
    result: Option<std::thread::Result<R>>,
}

unsafe extern "C" fn enter<F: FnOnce() -> R, R>(data: *mut c_void) -> *mut c_void {
    // SAFETY: `without_gvl` passes a `Call` that outlives the call.
    let call = unsafe { &mut *data.cast::<Call<F, R>>() };
    if let Some(work) = call.work.take() {
        // A panic must not unwind through Ruby's frames.
        call.result = Some(catch_unwind(AssertUnwindSafe(work)));
    }
    ptr::null_mut()
}

unsafe extern "C" fn interrupt<U: Fn()>(data: *mut c_void) {
    // SAFETY: `without_gvl` passes a closure that outlives the call.
    let unblock = unsafe { &*data.cast::<U>() };
    // Ruby may call this from its timer thread: a panic must not unwind there either.
    let _ = catch_unwind(AssertUnwindSafe(unblock));
}

/// Runs `work` without the GVL; other Ruby threads run meanwhile. `work` must not touch Ruby.
///
/// Ruby calls `unblock` when it wants this thread back: after a signal, a `Thread#kill`, or at the end of the process.
/// It calls it on any thread, and maybe with internal locks of its own. `unblock` must make `work` return soon.
/// Afterwards the caller must [`check_interrupts`].
///
/// `None` if an interrupt was pending already: then `work` has not run. Not for the only thread of a process: on a
/// signal Ruby starts another thread to call `unblock`, and raises if the system gives it none.
pub fn without_gvl<R>(_locked: &Ruby, work: impl FnOnce() -> R, unblock: impl Fn()) -> Option<R> {
    fn run<F: FnOnce() -> R, R, U: Fn()>(call: &mut Call<F, R>, unblock: &U) {
        // SAFETY: both pointers live until `rb_nogvl` returns. The flag keeps Ruby from raising
        // in here, which would jump over our frames.
        unsafe {
            rb_nogvl(
                Some(enter::<F, R>),
                ptr::from_mut(call).cast(),
                Some(interrupt::<U>),
                ptr::from_ref(unblock).cast_mut().cast(),
                RB_NOGVL_INTR_FAIL as c_int,
            );
        }
    }
    let mut call = Call { work: Some(work), result: None };
    run(&mut call, &unblock);
    call.result.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// Like [`without_gvl`], for work that returns soon by itself: nothing interrupts the work. Any thread of Ruby's may
/// call this, also the only one of a process. `None` if an interrupt was pending already: then `work` has not run.
pub fn without_gvl_for_a_moment<R>(_locked: &Ruby, work: impl FnOnce() -> R) -> Option<R> {
    fn run<F: FnOnce() -> R, R>(call: &mut Call<F, R>) {
        // SAFETY: as above.
        unsafe {
            let call = ptr::from_mut(call).cast();
            rb_nogvl(Some(enter::<F, R>), call, None, ptr::null_mut(), RB_NOGVL_INTR_FAIL as c_int);
        }
    }
    let mut call = Call { work: Some(work), result: None };
    run(&mut call);
    call.result.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// Lets Ruby do what it has interrupted this thread for: run signal handlers, switch threads, raise, or end the thread.
/// The error must be returned to Ruby.
pub fn check_interrupts(_locked: &Ruby) -> Result<(), Error> {
    protect(|| {
        // SAFETY: called with the GVL, and protected: a raise comes back as an error.
        unsafe { rb_thread_check_ints() };
        Qnil.into()
    })
    .map(|_| ())
}

/// Waits without the GVL until `wait` returns a result. `wait` returns `None` if `unblock` has ended it: then
/// interrupts are checked, and `wait` is called again. The error must be returned to Ruby.
pub fn wait_without_gvl<R>(ruby: &Ruby, wait: impl Fn() -> Option<R>, unblock: impl Fn()) -> Result<R, Error> {
    loop {
        match without_gvl(ruby, &wait, &unblock).flatten() {
            Some(result) => return Ok(result),
            None => check_interrupts(ruby)?,
        }
    }
}

/// Unblocks a wait that selects from its event and [`Interrupt::receiver`].
pub struct Interrupt {
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Interrupt {
    pub fn new() -> Self {
        let (sender, receiver) = bounded(1);
        Interrupt { sender, receiver }
    }

    /// Ends the current wait, or the next one. Any thread may call this.
    pub fn send(&self) {
        // It is full if the wait has been interrupted already.
        let _ = self.sender.try_send(());
    }

    pub fn receiver(&self) -> &Receiver<()> {
        &self.receiver
    }
}
