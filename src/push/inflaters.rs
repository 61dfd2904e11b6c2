//! Places for clients that refer to their earlier messages when they compress: the server keeps a window for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Context;
use crate::base;

/// A client's place. It is free again when this is dropped.
pub struct InflaterPlace(Arc<base::Context>, Arc<AtomicUsize>);

impl InflaterPlace {
    /// A place, if there is one: see `max_inflaters`. Any thread.
    pub fn take(context: &Context) -> Option<Self> {
        let (base, taken) = (&context.base, &context.inflaters);
        let more = |taken: usize| Some(taken + 1).filter(|taken| *taken <= base.limits.max_inflaters);
        if taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            base.stats.inflaters_full.add();
            return None;
        }
        base.stats.inflaters.add();
        Some(InflaterPlace(Arc::clone(base), Arc::clone(taken)))
    }
}

impl Drop for InflaterPlace {
    fn drop(&mut self) {
        // A forked child shares the counters, and the clients are not its own.
        if !self.0.owner.forked() {
            self.1.fetch_sub(1, Ordering::Relaxed);
            self.0.stats.inflaters.sub();
        }
    }
}

impl std::fmt::Debug for InflaterPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InflaterPlace")
    }
}
