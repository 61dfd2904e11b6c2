//! How many handshakes may go on in a turn, in which each task of the reactor that has something to do does some of it. A
//! handshake takes up to a millisecond of the processor; a thousand clients that come back at once must not stop the streams of
//! the others.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::base::lock::Lock;

/// Handshakes that go on in one turn.
const PER_TURN: usize = 8;

/// Admits [`PER_TURN`] handshakes in each turn. The others wait for the next one.
#[derive(Debug, Default)]
pub(super) struct Gate(Lock<State>);

#[derive(Debug, Default)]
struct State {
    /// How many were admitted in this turn.
    admitted: usize,
    /// Those that wait for the next one.
    waiting: VecDeque<Waker>,
    /// A task begins new turns.
    running: bool,
}

impl Gate {
    /// Whether the task may go on with its handshake now. If not, it is woken in another turn. Inside the runtime.
    pub(super) fn admits(self: &Arc<Self>, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        if state.admitted >= PER_TURN {
            state.waiting.push_back(cx.waker().clone());
            return false;
        }
        state.admitted += 1;
        if !std::mem::replace(&mut state.running, true) {
            tokio::spawn(Arc::clone(self).begin_turns());
        }
        true
    }

    /// Begins new turns as long as handshakes wait.
    async fn begin_turns(self: Arc<Self>) {
        loop {
            turn().await;
            let next: Vec<_> = {
                let mut state = self.0.lock();
                let count = state.waiting.len().min(PER_TURN);
                state.admitted = 0;
                state.running = count > 0;
                state.waiting.drain(..count).collect()
            };
            if next.is_empty() {
                return;
            }
            next.into_iter().for_each(Waker::wake);
        }
    }
}

/// Waits until all tasks that could run have done so. `yield_now` would wait for the next look at the sockets, and for ever if
/// another thread drives the runtime then.
async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_come_through_and_few_in_a_turn() {
        let (gate, done) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..100 {
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            tokio::spawn(poll_fn(move |cx| {
                if !gate.admits(cx) {
                    return Poll::Pending;
                }
                done.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(())
            }));
        }
        // A task, as the others are.
        let most = tokio::spawn(async move {
            let (mut most, mut before) = (0, 0);
            while before < 100 {
                turn().await;
                let now = done.load(Ordering::Relaxed);
                most = most.max(now - before);
                before = now;
            }
            turn().await;
            most
        });
        let most = most.await.unwrap();
        assert!(most <= 2 * PER_TURN, "{most} in a turn");
        // A quiet gate is open again.
        tokio::spawn(turn()).await.unwrap();
        let state = gate.0.lock();
        assert_eq!((state.admitted, state.running), (0, false));
    }
}
