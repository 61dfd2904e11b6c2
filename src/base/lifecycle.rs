//! The server's way from serving to stopped, as every task sees it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Where the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepting and serving.
    Serving,
    /// No new connections; what is open is finished.
    Draining,
    /// Everything is cut.
    Stopped,
}

/// Moves the phase forward, never back.
#[derive(Debug)]
pub struct Lifecycle {
    sender: watch::Sender<Phase>,
    /// Whether the phase is `Serving`, for tasks that ask in every turn.
    serving: AtomicBool,
}

/// A task's view of the phase.
#[derive(Debug, Clone)]
pub struct PhaseReceiver(watch::Receiver<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle { sender: watch::Sender::new(Phase::Serving), serving: AtomicBool::new(true) }
    }
}

impl Lifecycle {
    /// Moves on to `phase`, unless it is already reached. Returns whether it moved.
    pub fn advance(&self, phase: Phase) -> bool {
        // Before a task is woken that asks.
        self.serving.fetch_and(phase == Phase::Serving, Ordering::SeqCst);
        self.sender.send_if_modified(|now| {
            let moves = *now < phase;
            if moves {
                *now = phase;
            }
            moves
        })
    }

    /// Whether the server still serves as usual. Costs one atomic load.
    pub fn serving(&self) -> bool {
        self.serving.load(Ordering::SeqCst)
    }

    /// A view for one task.
    pub fn receiver(&self) -> PhaseReceiver {
        PhaseReceiver(self.sender.subscribe())
    }
}

impl PhaseReceiver {
    /// Whether the server still serves as usual.
    pub fn serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }

    /// Returns once the server has reached `phase` (or is gone).
    pub async fn reached(&mut self, phase: Phase) {
        // An error means that the server is gone.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
