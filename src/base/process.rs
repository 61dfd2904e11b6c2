//! What a supervisor of processes needs from the system.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// Makes this process the parent of those whose own parent ends, if they descend from it. False if the system does not
/// have that: only Linux does.
pub fn become_subreaper() -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: this call of prctl(2) takes one number and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong, 0, 0, 0) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}

/// A file of `size` zero bytes in memory, which has no path and lives as long as a process has it open. Programs that
/// this process starts do not inherit it.
pub fn memory_file(name: &str, size: u64) -> io::Result<OwnedFd> {
    let file = anonymous(name)?;
    file.set_len(size)?;
    Ok(file.into())
}

#[cfg(target_os = "linux")]
fn anonymous(name: &str) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

/// Other systems have no such files, but a file may lose its path while it is open.
#[cfg(not(target_os = "linux"))]
fn anonymous(_name: &str) -> io::Result<File> {
    tempfile::tempfile()
}

/// Why the system would refuse to fork now, if it would. Ruby's own fork would try again for ever, and block its thread.
/// `None` also where this cannot be found out.
#[cfg(target_os = "linux")]
pub fn fork_error() -> Option<io::Error> {
    use std::ffi::{c_int, c_void};
    use std::ptr::null_mut;

    /// What the child does: it ends.
    extern "C" fn end(_: *mut c_void) -> c_int {
        0
    }

    let mut stack = [0_u128; 1024];
    // SAFETY: the child runs `end` on a stack of its own. It shares the memory, so nothing is copied, and this thread
    // waits until it has ended. No handler of a signal can run in it, because signals are blocked meanwhile.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let top = stack.as_mut_ptr_range().end.cast();
        let pid = libc::clone(end, top, libc::CLONE_VM | libc::CLONE_VFORK, null_mut());
        let error = (pid < 0).then(io::Error::last_os_error);
        if error.is_none() {
            // It has no SIGCHLD, and only this call knows of it.
            libc::waitpid(pid, null_mut(), libc::__WALL);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut());
        error
    }
}

/// See the function of the same name for Linux.
#[cfg(not(target_os = "linux"))]
pub fn fork_error() -> Option<io::Error> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn the_system_would_fork_again_and_again() {
        for _ in 0..100 {
            assert!(fork_error().is_none());
        }
    }

    #[test]
    fn a_memory_file_is_zero_and_shared_by_its_duplicates() {
        let first = memory_file("test", 16).unwrap();
        let mut second = File::from(first.as_fd().try_clone_to_owned().unwrap());
        let mut bytes = Vec::new();
        second.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 16]);
        second.write_all(b"more").unwrap();
        assert_eq!(File::from(first).metadata().unwrap().len(), 20);
    }
}
