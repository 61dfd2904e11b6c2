//! Numbers in memory that several processes share, and that outlives each of them.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Numbers in memory that other processes share. A process that is killed leaves each number as it was stored last, and
/// never half of it.
#[derive(Debug)]
pub struct SharedMemory {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: it is nothing but atomics, and it owns its mapping.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// The first `count` numbers of a file, as a memory file is one. The descriptor may be closed afterwards. The file
    /// must not become shorter: the process would get a SIGBUS.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the file is shorter, or `count` is 0. Others: it cannot be mapped.
    pub fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        let size = rustix::fs::fstat(&file)?.st_size;
        if count == 0 || size < (count * size_of::<AtomicU64>()) as i64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a memory file of {size} bytes is too short"),
            ));
        }
        Self::mapping(count, libc::MAP_SHARED, file.as_fd().as_raw_fd())
    }

    /// Numbers without a file, all 0. Children that are forked later share them.
    pub fn anonymous(count: usize) -> io::Result<Self> {
        Self::mapping(count, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    fn mapping(count: usize, flags: libc::c_int, file: libc::c_int) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the system chooses a place where nothing is.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), count * size_of::<AtomicU64>(), access, flags, file, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { start, count })
    }
}

impl Deref for SharedMemory {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has so many numbers, aligned to a page, and lives as long as `self`. All bytes are valid.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: no reference to it is left.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn two_mappings_of_a_file_share_their_numbers() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(SharedMemory::map(&file, 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        file.set_len(32).unwrap();
        assert_eq!(SharedMemory::map(&file, 5).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(SharedMemory::map(&file, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let (one, other) = (SharedMemory::map(&file, 4).unwrap(), SharedMemory::map(&file, 4).unwrap());
        drop(file);
        one[3].store(7, Ordering::Relaxed);
        drop(one);
        assert_eq!(other.iter().map(|number| number.load(Ordering::Relaxed)).collect::<Vec<_>>(), [0, 0, 0, 7]);
    }

    #[test]
    fn a_killed_process_leaves_its_numbers() {
        let shared = SharedMemory::anonymous(1).unwrap();
        // SAFETY: the child stores a number and kills itself; it takes no lock and allocates nothing.
        let child = unsafe { libc::fork() };
        if child == 0 {
            shared[0].store(7, Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        // SAFETY: it waits for the own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        assert_eq!(shared[0].load(Ordering::Relaxed), 7);
    }
}
