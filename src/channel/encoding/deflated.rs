//! The compressed forms of a message: one for each shape and window in use, each made once.
//!
//! The form of a long message is made by a thread of its own: see [`super::super::compressor`]. Its readers wait meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::super::wake::Wake;
use super::Shape;
use crate::base::lock::Lock;
use crate::websocket::Opcode;
use crate::websocket::deflate::{WindowBits, compress};

/// What was compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deflations {
    /// Messages. One for several windows counts several times.
    pub messages: u64,
    /// Their bytes before.
    pub before: u64,
    /// Bytes of the frames.
    pub after: u64,
}

impl Deflations {
    /// Counts one more.
    pub fn add(&mut self, before: usize, after: usize) {
        self.messages += 1;
        self.before += before as u64;
        self.after += after as u64;
    }

    /// Counts these, too.
    pub(in crate::channel) fn join(&mut self, other: Deflations) {
        self.messages += other.messages;
        self.before += other.before;
        self.after += other.after;
    }
}

/// Which form of a message a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) struct Form {
    pub(in crate::channel) shape: Shape,
    pub(in crate::channel) window: WindowBits,
}

/// Whether a reader can have its form of a long message.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::channel) enum Awaited {
    /// Yes. This was compressed, and nobody has counted it.
    Ready(Deflations),
    /// It is being made. The reader is woken afterwards.
    Later,
    /// The same, but the caller has to have it made: see [`super::super::compressor`].
    Begins,
}

/// The compressed forms of one message. The forms of a shape together take no more than the message as it is in this shape:
/// that much was counted for them when the message was made. What does not fit is sent as it is.
#[derive(Debug, Default)]
pub(in crate::channel) struct DeflatedCache {
    raw: Forms,
    push_v1: Forms,
    /// Forms that nobody has made are not made any more.
    given_up: AtomicBool,
    making: Lock<Making>,
}

/// The forms that another thread makes.
#[derive(Default)]
struct Making {
    /// Those that are not ready.
    begun: Vec<Form>,
    /// The readers that wait for one of them, by their numbers.
    readers: BTreeMap<u32, Arc<dyn Wake>>,
    /// What nobody has counted.
    made: Deflations,
}

/// `None` in a slot: the message does not become shorter, or there is no room for this form.
#[derive(Debug, Default)]
struct Forms {
    slots: [OnceLock<Option<Bytes>>; WindowBits::COUNT],
    taken: AtomicUsize,
}

/// What is known of a form.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::channel) enum Lookup<'a> {
    /// Nobody has asked for it yet.
    Unknown,
    /// The message is sent as it is.
    AsItIs,
    /// All its frames, one behind the other.
    Frames(&'a Bytes),
}

impl DeflatedCache {
    fn forms(&self, shape: Shape) -> Option<&Forms> {
        match shape {
            Shape::Raw => Some(&self.raw),
            Shape::PushV1 => Some(&self.push_v1),
            Shape::EventStream => None,
        }
    }

    /// The form of a message with `length` bytes in this shape, if it was made.
    pub(in crate::channel) fn get(&self, shape: Shape, window: WindowBits, length: usize) -> Lookup<'_> {
        let Some(forms) = self.forms(shape) else { return Lookup::AsItIs };
        match forms.slots[window.for_length(length).index()].get() {
            None if self.given_up.load(Ordering::Acquire) => Lookup::AsItIs,
            None => Lookup::Unknown,
            Some(None) => Lookup::AsItIs,
            Some(Some(frames)) => Lookup::Frames(frames),
        }
    }

    /// The form, which is made of `payload` if it was not made yet. Takes time. `None`: the message is sent as it is.
    pub(in crate::channel) fn make(
        &self,
        shape: Shape,
        window: WindowBits,
        opcode: Opcode,
        payload: &[u8],
        deflations: &mut Deflations,
    ) -> Option<&Bytes> {
        let forms = self.forms(shape)?;
        let window = window.for_length(payload.len());
        if self.given_up.load(Ordering::Acquire) {
            return forms.slots[window.index()].get()?.as_ref();
        }
        let form = forms.slots[window.index()].get_or_init(|| {
            let frames = compress(opcode, payload, window)?;
            deflations.add(payload.len(), frames.len());
            let fits = |taken: usize| Some(taken + frames.len()).filter(|taken| *taken <= payload.len());
            forms.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok().then_some(frames)
        });
        form.as_ref()
    }

    /// Whether a reader can have its form of a message with `length` bytes in this shape; `None`: that is not known yet. If it
    /// cannot, `wake` is woken when it can.
    pub(in crate::channel) fn wait(
        &self,
        form: Form,
        length: impl FnOnce() -> Option<usize>,
        reader: u32,
        wake: &Arc<dyn Wake>,
    ) -> Awaited {
        let mut making = self.making.lock();
        // With the lock: what gets ready later finds this reader.
        let known = |length| self.get(form.shape, form.window, length) != Lookup::Unknown;
        if self.given_up.load(Ordering::Acquire) || length().is_some_and(known) {
            return Awaited::Ready(std::mem::take(&mut making.made));
        }
        making.readers.insert(reader, Arc::clone(wake));
        if making.begun.contains(&form) {
            return Awaited::Later;
        }
        making.begun.push(form);
        Awaited::Begins
    }

    /// A form that was begun is made, or is not going to be: then this and all others that nobody has made are sent as they
    /// are. Wakes the readers.
    pub(in crate::channel) fn finish(&self, form: Form, made: Option<Deflations>) {
        let mut making = self.making.lock();
        match made {
            Some(deflations) => making.made.join(deflations),
            None => self.given_up.store(true, Ordering::Release),
        }
        making.begun.retain(|begun| *begun != form);
        let readers = std::mem::take(&mut making.readers);
        drop(making);
        readers.into_values().for_each(|wake| wake.wake());
    }
}

impl std::fmt::Debug for Making {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Making").field("begun", &self.begun).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(bits: u8) -> WindowBits {
        WindowBits::new(bits).unwrap()
    }

    #[test]
    fn a_form_is_made_once_for_all_windows_that_hold_the_message() {
        let (cache, mut deflations, payload) = (DeflatedCache::default(), Deflations::default(), [b'x'; 1000]);
        for bits in [15, 10, 12, 15] {
            let frames = cache.make(Shape::Raw, window(bits), Opcode::Text, &payload, &mut deflations).cloned();
            assert_eq!(
                Some(&frames.unwrap()),
                cache.make(Shape::Raw, window(15), Opcode::Text, &payload, &mut deflations)
            );
        }
        assert_eq!((deflations.messages, deflations.before), (1, 1000));
        assert_eq!(cache.get(Shape::Raw, window(9), 1000), Lookup::Unknown);
        assert_eq!(cache.get(Shape::PushV1, window(15), 1000), Lookup::Unknown);
        assert!(cache.make(Shape::Raw, window(9), Opcode::Text, &payload, &mut deflations).is_some());
        assert_eq!(deflations.messages, 2);
    }

    #[test]
    fn forms_take_no_more_than_the_message() {
        // A third of it is random, so that each form takes more than a third.
        let mut random = fastrand::Rng::with_seed(7);
        let payload: Vec<u8> = (0..50_000).map(|at| if at % 3 == 0 { random.u8(..) } else { 0 }).collect();
        let cache = DeflatedCache::default();
        let made = |bits| cache.make(Shape::Raw, window(bits), Opcode::Binary, &payload, &mut Deflations::default());
        let taken: usize = (9..=15).filter_map(made).map(Bytes::len).sum();
        assert!(taken > 0 && taken <= payload.len(), "{taken}");
        assert_eq!(cache.get(Shape::Raw, window(15), payload.len()), Lookup::AsItIs);
    }

    #[test]
    fn what_does_not_become_shorter_is_tried_once() {
        let mut random = fastrand::Rng::with_seed(7);
        let payload: Vec<u8> = (0..1000).map(|_| random.u8(..)).collect();
        let cache = DeflatedCache::default();
        assert_eq!(cache.make(Shape::Raw, window(15), Opcode::Binary, &payload, &mut Deflations::default()), None);
        assert_eq!(cache.get(Shape::Raw, window(15), 1000), Lookup::AsItIs);
        assert_eq!(cache.get(Shape::EventStream, window(15), 1000), Lookup::AsItIs);
    }
}
