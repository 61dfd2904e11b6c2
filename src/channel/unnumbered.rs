//! Which of its messages a thread has not seen numbered. A response that this thread makes must not come before them.

use std::cell::Cell;

thread_local! {
    /// The place of the last submission of this thread that had no number at once (see [`super::Ticket::place`]), or 0.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// This thread has submitted a message, which has no number yet.
pub(super) fn note(place: u64) {
    LAST.set(place);
}

/// The place of the last such message, and forgets it. Messages before it have their numbers when it has its own.
pub(super) fn take() -> Option<u64> {
    match LAST.replace(0) {
        0 => None,
        place => Some(place),
    }
}

/// This thread has waited for the message at `place` in vain, and knows that: what it makes from now on need not wait again.
pub fn forget_unnumbered_up_to(place: u64) {
    LAST.set(Some(LAST.get()).filter(|last| *last > place).unwrap_or_default());
}

/// This thread begins something new: what it makes from now on need not wait for what it has published before.
pub fn forget_unnumbered() {
    LAST.set(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_vain_covers_only_what_came_before_it() {
        note(7);
        forget_unnumbered_up_to(6);
        assert_eq!(take(), Some(7));
        note(7);
        forget_unnumbered_up_to(7);
        assert_eq!(take(), None);
    }
}
