//! A bound for all request bodies in temporary files together (`max_spooled_total`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes one server's request bodies may take in files, and how many they take now. Any thread.
#[derive(Debug)]
pub struct Budget {
    /// The folder of the files. The environment is read only once, because an app may change it while another thread
    /// reads it.
    folder: PathBuf,
    most: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `most` bytes in the temporary folder, as the environment names it now.
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Budget { folder: std::env::temp_dir(), most, used: AtomicU64::new(0) })
    }

    /// A budget of `most` bytes. For `None`: a quarter of what is free in the temporary folder now, or no bound if the
    /// system does not say how much is free.
    pub fn of_folder(most: Option<usize>) -> Arc<Self> {
        Budget::new(most.map_or_else(default_most, |most| most as u64))
    }

    /// The folder for the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that bodies may take together.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Bytes that bodies take now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether `bytes` more would fit now. Another body may take them first.
    pub fn fits(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.most
    }

    /// A part of the budget for one body. It has no bytes yet.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: 0 }
    }
}

/// The part of a [`Budget`] that one body has. Dropping it gives the bytes back.
///
/// It must live as long as the body's file. It may be dropped in a forked child: that changes the child's copy only.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// See [`Budget::folder`].
    pub(super) fn folder(&self) -> &Path {
        self.budget.folder()
    }

    /// Takes `bytes` more and returns true. If they do not fit, takes nothing and returns false.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.budget.most);
        let fits = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if fits {
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The default, for a process that has the machine to itself: a quarter of what is free in the temporary folder now, or no
/// bound if the system does not say how much is free.
pub fn default_most() -> u64 {
    quarter_of_free(&std::env::temp_dir())
}

fn quarter_of_free(folder: &Path) -> u64 {
    match rustix::fs::statvfs(folder) {
        Ok(figures) => figures.f_bavail.saturating_mul(figures.f_frsize) / 4,
        Err(error) => {
            log::warn!(
                "cannot find out how much space is free in {}: {error}. Temporary files of request bodies have no limit \
                 (max_spooled_total sets one)",
                folder.display()
            );
            u64::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_do_not_fit_are_refused_and_a_dropped_reservation_gives_its_bytes_back() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.reserve(), budget.reserve());
        assert!(one.grow(60) && !other.grow(41) && other.grow(40) && !one.grow(1));
        assert!(!other.grow(u64::MAX), "no overflow");
        assert_eq!(budget.used(), 100);
        drop(one);
        assert_eq!(budget.used(), 40);
        assert!(budget.fits(60) && !budget.fits(61));
    }

    #[test]
    fn a_quarter_of_the_folder_is_the_default() {
        let folder = Budget::of_folder(None);
        assert!(folder.most() > 0 && folder.most() < u64::MAX / 2);
        assert_eq!(Budget::of_folder(Some(0)).most(), 0);
        assert_eq!(quarter_of_free(Path::new("/nowhere/at/all")), u64::MAX);
    }
}
