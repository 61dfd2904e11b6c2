//! How much memory the machine or container has, and giving free memory back to the system.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that the process can have: the machine's, or what its container allows if that is less. `None` if
/// the system does not say.
pub fn available() -> Option<u64> {
    machine().into_iter().chain(container(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"))).min()
}

fn machine() -> Option<u64> {
    // SAFETY: sysconf only reads.
    let [pages, size] = [libc::_SC_PHYS_PAGES, libc::_SC_PAGESIZE].map(|name| unsafe { libc::sysconf(name) });
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(size).ok()?)
}

/// The least limit of the process's control group and of those above it (cgroups(7), both versions). `membership` is
/// the file that names the groups; `root` is the folder where they are mounted. In a container, that folder often is the
/// process's own group, and the path in `membership` does not exist.
fn container(membership: &Path, root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(membership).ok()?;
    let limits = groups.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        match controllers {
            "" => least(root, path, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                least(&root.join("memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

fn least(mount: &Path, path: &str, file: &str) -> Option<u64> {
    let group: PathBuf = mount.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|folder| folder.starts_with(mount));
    // "max" in version 2, a huge number in version 1: no limit.
    groups.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).min()
}

/// Gives free memory back to the system. It may take milliseconds, and threads that allocate may have to wait meanwhile.
/// So it is for a thread that no request waits for.
pub fn give_back() {
    // The allocators of other systems do it by themselves.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: glibc's malloc_trim(3) may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit that is found for these files below the mount.
    fn limit(membership: &str, files: &[(&str, &str)]) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let (groups, root) = (folder.path().join("groups"), folder.path().join("mount"));
        fs::write(&groups, membership).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        container(&groups, &root)
    }

    #[test]
    fn the_least_limit_counts_in_version_2() {
        let files = [("a/memory.max", "3000\n"), ("a/b/memory.max", "max\n"), ("memory.max", "5000\n")];
        assert_eq!(limit("0::/a/b\n", &files), Some(3000));
        assert_eq!(limit("0::/a/b\n", &[("a/b/memory.max", "max\n")]), None);
        // The path is the one on the host; only the container's own group is mounted.
        assert_eq!(limit("0::/docker/0123\n", &[("memory.max", "700\n")]), Some(700));
        assert_eq!(limit("0::/../..\n", &[("memory.max", "700\n")]), Some(700));
    }

    #[test]
    fn the_memory_controller_counts_in_version_1() {
        let groups = "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n";
        let files = [("memory/a/memory.limit_in_bytes", "900\n"), ("cpu,cpuacct/x/memory.limit_in_bytes", "1\n")];
        assert_eq!(limit(groups, &files), Some(900));
        assert_eq!(limit(groups, &[("memory/memory.limit_in_bytes", "800\n")]), Some(800));
        assert_eq!(limit("", &[]), None);
        assert_eq!(container(Path::new("/nowhere"), Path::new("/nowhere")), None);
    }

    #[test]
    fn there_is_some_memory() {
        assert!(available().unwrap() > 1 << 20);
        give_back();
    }
}
