//! The thread that compresses long messages, so that the reactor does not.
//!
//! A reader with permessage-deflate stops before a long message that nobody has compressed for its shape and window. The first
//! such reader has it compressed here. Afterwards all that wait are woken, and read on. So each of them gets its messages in
//! order, and other readers wait for nothing. The thread has a lower priority, so that it does not take a busy processor from the
//! reactor.
//!
//! **Bounds.** Beyond [`MAX_WAITING`] bytes of messages, and without a thread, a message is sent as it is. So readers wait for a
//! time that is bounded, and so is the memory of messages that the log has freed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::encoding::{Deflations, Encoder, Form};
use super::message::Message;
use crate::base::helper_thread::{HelperThread, Purpose};

/// Bytes of the messages that wait to be compressed. One may always wait.
const MAX_WAITING: usize = 16 << 20;

const PURPOSE: Purpose = Purpose {
    thread: "push_deflate",
    name: "the thread that compresses",
    without: "WebSockets with compression get long messages of channels as they are",
    niceness: 5,
};

/// Compresses on a thread of its own. Any thread.
#[derive(Debug)]
pub(super) struct Compressor {
    thread: HelperThread<1>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor { thread: HelperThread::new(PURPOSE), waiting: Arc::default() }
    }
}

impl Compressor {
    /// Makes a form that was begun, and wakes its readers; at once, if it cannot be made.
    pub(super) fn make(&self, message: Arc<Message>, form: Form, encoder: Arc<Encoder>) {
        let work = Work::new(message, form, &self.waiting);
        if work.fits {
            // If it is refused, it is dropped.
            let _ = self.thread.submit(0, move || work.run(&encoder));
        }
    }
}

/// For tests, which decide when something is compressed.
#[cfg(test)]
impl Compressor {
    /// Nothing is compressed until the sender is dropped.
    pub(super) fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (release, released) = std::sync::mpsc::channel();
        self.thread.submit(0, move || _ = released.recv()).unwrap();
        release
    }

    /// Waits until all that was begun is compressed.
    pub(super) fn settle(&self) {
        let (done, is_done) = std::sync::mpsc::channel();
        self.thread.submit(0, move || done.send(()).unwrap()).unwrap();
        is_done.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    }

    pub(super) fn stop(&self) {
        self.thread.stop();
    }
}

/// A form that waits to be made. If it is dropped before it is made, it is given up.
struct Work {
    message: Arc<Message>,
    form: Form,
    made: Option<Deflations>,
    waiting: Arc<AtomicUsize>,
    fits: bool,
}

impl Work {
    fn new(message: Arc<Message>, form: Form, waiting: &Arc<AtomicUsize>) -> Self {
        let length = message.payload().len();
        let before = waiting.fetch_add(length, Ordering::Relaxed);
        let fits = before == 0 || before + length <= MAX_WAITING;
        Work { message, form, made: None, waiting: Arc::clone(waiting), fits }
    }

    fn run(mut self, encoder: &Encoder) {
        self.made = Some(self.message.make_form(self.form, encoder));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.message.payload().len(), Ordering::Relaxed);
        self.message.finish_form(self.form, self.made);
    }
}
