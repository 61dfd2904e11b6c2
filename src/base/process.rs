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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

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
