//! What the native threads of the process do: for the log, when Ruby does not answer.

/// Logs a line for each thread.
pub(super) fn report(name: &str) {
    let pid = std::process::id();
    match all() {
        Err(why) => log::warn!("{name} (pid {pid}): cannot say what its native threads do: {why}"),
        Ok(threads) => {
            let threads: Vec<String> = threads.iter().map(|thread| format!("\n  {thread}")).collect();
            // One line could be too long to be read, and several could mix with those of other processes.
            log::warn!("{name} (pid {pid}): its {} native threads:{}", threads.len(), threads.concat());
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn all() -> Result<Vec<String>, String> {
    Err("this system has no /proc".to_owned())
}

/// A description of each thread, such as `4711 "push_standby": sleeping in epoll_wait (ep_poll)`.
#[cfg(target_os = "linux")]
fn all() -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir("/proc/self/task").map_err(|error| error.to_string())?;
    let mut ids: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    // A thread that has just ended has no files any more.
    Ok(ids.into_iter().filter_map(linux::describe).collect())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::borrow::Cow;

    /// The system calls in which threads of a Ruby process wait.
    const CALLS: [(libc::c_long, &str); 24] = [
        (libc::SYS_accept4, "accept4"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_epoll_pwait, "epoll_pwait"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_pread64, "pread64"),
        (libc::SYS_pselect6, "pselect6"),
        (libc::SYS_pwrite64, "pwrite64"),
        (libc::SYS_read, "read"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_wait4, "wait4"),
        (libc::SYS_write, "write"),
        (libc::SYS_writev, "writev"),
    ];

    /// Those that newer architectures do not have.
    #[cfg(target_arch = "x86_64")]
    const OLD_CALLS: [(libc::c_long, &str); 3] =
        [(libc::SYS_epoll_wait, "epoll_wait"), (libc::SYS_poll, "poll"), (libc::SYS_select, "select")];
    #[cfg(not(target_arch = "x86_64"))]
    const OLD_CALLS: [(libc::c_long, &str); 0] = [];

    pub(super) fn describe(id: u32) -> Option<String> {
        let read = |file: &str| {
            let bytes = std::fs::read(format!("/proc/self/task/{id}/{file}")).ok()?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
        };
        let name = read("comm")?;
        let status = read("status")?;
        let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default();
        // `S (sleeping)`
        let state = state.split(['(', ')']).nth(1).unwrap_or(state.trim());
        // Without the right to know, the function in the kernel is 0, and the system call cannot be read.
        let call = read("syscall").map(|line| call(&line)).unwrap_or_default();
        let function = read("wchan").filter(|function| !matches!(function.as_str(), "" | "0"));
        let function = function.map(|function| format!(" ({})", function.escape_debug())).unwrap_or_default();
        Some(format!("{id} \"{}\": {state}{call}{function}", name.escape_debug()))
    }

    /// The system call of a line such as `202 0x7f… 0x89 …`. It is `running` for a thread that is not in the kernel.
    fn call(line: &str) -> String {
        let Some(number) = line.split(' ').next().and_then(|number| number.parse::<libc::c_long>().ok()) else {
            return String::new();
        };
        // -1: in the kernel, but in no system call.
        if number < 0 {
            return String::new();
        }
        let known = CALLS.iter().chain(&OLD_CALLS).find(|(known, _)| *known == number);
        let name = known.map_or_else(|| Cow::from(format!("system call {number}")), |(_, name)| Cow::from(*name));
        format!(" in {name}")
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn system_calls_have_their_names() {
            assert_eq!(call(&format!("{} 0x0 0x1", libc::SYS_futex)), " in futex");
            assert_eq!(call("9999 0x0"), " in system call 9999");
            assert_eq!(call("running"), "");
            assert_eq!(call("-1 0x7f 0x0"), "");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn every_thread_is_described() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("a \"name\"\n".to_owned());
        let thread = thread.spawn(move || wait.recv().is_err()).unwrap();
        let described = |part: &str| all().unwrap().iter().any(|line| line.contains(part));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !described("\"a \\\"name\\\"\\n\": sleeping in futex") {
            assert!(Instant::now() < deadline, "{:?}", all());
            std::thread::yield_now();
        }
        drop(release);
        assert!(thread.join().unwrap());
    }
}
