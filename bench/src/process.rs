//! What a process tree has used: processor time and memory.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// `pid` and all its descendants.
fn tree(pid: Pid) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut todo = vec![pid.as_raw()];
    while let Some(pid) = todo.pop() {
        if !found.insert(pid) {
            continue;
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            // A task may end between the listing and the reading.
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            todo.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<i32>().ok()),
            );
        }
    }
    found
}

/// User and system time of the process tree so far, in nanoseconds from the processes' own CPU
/// clocks: unlike a sum over `/proc/PID/task` they keep the time of threads that have ended.
pub(crate) fn cpu_time(pid: Pid) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for member in tree(pid) {
        let clock = clock_getcpuclockid(Pid::from_raw(member));
        match clock.and_then(clock_gettime) {
            Ok(time) => sum += Duration::from(time),
            // Only the root must be there.
            Err(error) if member == pid.as_raw() => {
                return Err(error).context("the CPU clock of the proxy");
            }
            Err(_) => {}
        }
    }
    Ok(sum)
}

/// User and system time of the calling thread.
pub(crate) fn thread_cpu_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("the thread's CPU clock")?;
    Ok(time.into())
}

/// User and system time of this process and of its children that have been waited for.
pub(crate) fn own_cpu_time() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who).context("the processor time of this run")?;
        sum += duration(usage.user_time()) + duration(usage.system_time());
    }
    Ok(sum)
}

fn duration(time: TimeVal) -> Duration {
    let (seconds, micros) = (time.tv_sec(), time.tv_usec());
    Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(micros.unsigned_abs())
}

/// Resident memory of the process tree, in bytes.
pub(crate) fn resident(pid: Pid) -> Result<u64> {
    let mut sum = 0;
    for member in tree(pid) {
        match fs::read_to_string(format!("/proc/{member}/status")) {
            Ok(status) => sum += field(&status, "VmRSS:").unwrap_or(0),
            Err(error) if member == pid.as_raw() => {
                return Err(error).context("the status of the proxy");
            }
            Err(_) => {}
        }
    }
    Ok(sum)
}

/// The most that the process alone ever had resident, in bytes.
pub(crate) fn peak_resident(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its status")?;
    field(&status, "VmHWM:").context("no VmHWM in its status")
}

/// A size in a `/proc/PID/status`, in bytes (the file says kB and means KiB).
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Raises this process's limit on open files to the highest allowed and returns it.
pub(crate) fn raise_file_limit() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("read the file limit")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the file limit")?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn cpu_time_keeps_the_time_of_ended_threads() {
        let before = cpu_time(Pid::this()).unwrap();
        let spin = || {
            let started = Instant::now();
            while started.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
        };
        std::thread::spawn(spin).join().unwrap();
        let used = cpu_time(Pid::this()).unwrap() - before;
        assert!(used >= Duration::from_millis(5), "{used:?}");
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            field("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n", "VmRSS:"),
            Some(2_097_152)
        );
        assert_eq!(field("Name:\tx\n", "VmRSS:"), None);
        let resident = resident(Pid::this()).unwrap();
        assert!(resident > 100_000);
        assert!(peak_resident(Pid::this()).unwrap() >= resident / 2);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Above the largest id Linux gives out.
        let gone = Pid::from_raw(4_194_305);
        assert!(cpu_time(gone).is_err());
        assert!(resident(gone).is_err());
    }
}
