//! CPU time and memory of processes, as the kernel accounts for them.

use std::fs;
use std::mem::MaybeUninit;

/// A process and all of its descendants.
#[derive(Debug, Clone, Copy)]
pub struct ProcessTree {
    root: i32,
}

impl ProcessTree {
    /// The tree of the process `root`.
    pub fn new(root: i32) -> Self {
        ProcessTree { root }
    }

    /// CPU time, in ns, that its processes have used since they began; threads that have ended are included, processes
    /// that have ended are not.
    pub fn cpu(self) -> u64 {
        self.pids().into_iter().filter_map(cpu).sum()
    }

    /// Proportional set size in bytes: what is shared with other processes is divided among them.
    pub fn memory(self) -> u64 {
        self.pids().into_iter().filter_map(memory).sum()
    }

    fn pids(self) -> Vec<i32> {
        let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, parent(pid)?)))
            .collect();
        let mut pids = vec![self.root];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            pids.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child));
            next += 1;
        }
        pids
    }
}

/// CPU time of this process, in ns.
pub fn own_cpu() -> u64 {
    time(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// CPU time of a process in ns; `None` if it has ended. Its CPU clock counts in ns, `/proc/PID/stat` in 10 ms.
fn cpu(pid: i32) -> Option<u64> {
    let mut clock = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for the write of a clock id.
    if unsafe { libc::clock_getcpuclockid(pid, clock.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it wrote the id.
    time(unsafe { clock.assume_init() })
}

fn time(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the write of a timespec.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (status == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn memory(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(pss.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn parent(pid: i32) -> Option<i32> {
    parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The parent's id in a line of `/proc/PID/stat`. The name before it is in brackets, and may contain some.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parent_behind_any_name() {
        assert_eq!(parent_in("12 (a) b) (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn knows_its_own_use() {
        let own = ProcessTree::new(std::process::id() as i32);
        assert!(own.cpu() > 0);
        assert!(own.memory() > 4096);
    }
}
