//! The server's way from serving to stopped, as every task sees it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long a client must have been quiet, during a drain, until its connection is closed. A client that sends request after
/// request is told by `Connection: close` instead. A connection that is closed by surprise can lose the request that is on
/// its way.
const QUIET: Duration = Duration::from_secs(1);

/// How long idle connections are kept at least if the server restarts: then other processes serve, and no client waits for
/// the end of the drain.
const QUIET_AT_RESTART: Duration = Duration::from_secs(5);

/// How long a connection that was closed while it was idle is read on: what its client has sent before it could know of
/// the end must not be answered with a reset.
pub const LINGER_IDLE: Duration = Duration::from_millis(500);

/// How a server drains. Connections without a request are closed between two times.
#[derive(Debug, Clone, Copy)]
struct DrainPlan {
    /// Another process serves from now on.
    restarts: bool,
    /// Not before this time.
    kept_until: Instant,
    /// At this time at the latest.
    closed_at: Instant,
}

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
    /// Set when it begins to drain.
    drain_plan: OnceLock<DrainPlan>,
}

/// A task's view of the phase.
#[derive(Debug, Clone)]
pub struct PhaseReceiver(watch::Receiver<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle {
            sender: watch::Sender::new(Phase::Serving),
            serving: AtomicBool::new(true),
            drain_plan: OnceLock::new(),
        }
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

    /// Begins to drain, unless that has begun: what is open is cut at `deadline`. `restarts` says whether another process
    /// serves from now on. Returns whether the phase has changed.
    pub fn drain(&self, deadline: Instant, restarts: bool) -> bool {
        let now = Instant::now();
        let kept_until = if restarts { now + QUIET_AT_RESTART } else { now };
        let closed_at = deadline.checked_sub(LINGER_IDLE).unwrap_or(now).max(now);
        self.drain_plan.get_or_init(|| DrainPlan { restarts, kept_until, closed_at });
        self.advance(Phase::Draining)
    }

    /// When a connection is closed that has had no request since `since`. `None` while the server serves as usual.
    pub fn close_idle_at(&self, since: Instant) -> Option<Instant> {
        let plan = self.drain_plan.get()?;
        Some((since + QUIET).max(plan.kept_until).min(plan.closed_at))
    }

    /// Whether the server drains because it restarts: another process serves from now on.
    pub fn restarts(&self) -> bool {
        self.drain_plan.get().is_some_and(|plan| plan.restarts)
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
