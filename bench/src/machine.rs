//! The machine and the day a report speaks of.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

use crate::process;

/// What figures depend on besides the programs.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Model name of the processor.
    pub(crate) processor: String,
    /// Usable cores.
    pub(crate) cores: usize,
    /// Kernel release.
    pub(crate) kernel: String,
    /// The system's TCP congestion controller.
    pub(crate) congestion: String,
    /// Load averages when the run began.
    pub(crate) load: String,
    /// The day in UTC, as YYYY-MM-DD.
    pub(crate) date: String,
}

impl Machine {
    /// This one, today.
    pub(crate) fn look() -> Self {
        let read = |path: &str| {
            fs::read_to_string(path)
                .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
        };
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let processor = model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let load = read("/proc/loadavg");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            processor: processor.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease"),
            congestion: read("/proc/sys/net/ipv4/tcp_congestion_control"),
            load: load
                .split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            date: date(now.as_secs() / 86_400),
        }
    }
}

/// A moment of the machine's and this run's processor time, to tell afterwards how much others
/// have disturbed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    machine: Busy,
    own: Duration,
}

/// Processor time of a machine since it started, over all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Busy {
    /// In programs and in the kernel.
    used: Duration,
    /// Given to other machines by the hypervisor.
    stolen: Duration,
}

/// What others took while the run lasted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Disturbance {
    /// Cores that other processes kept busy, on average.
    pub(crate) others: f64,
    /// Cores that the hypervisor withheld, on average.
    pub(crate) stolen: f64,
}

impl Moment {
    /// This one.
    pub(crate) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        let machine = Busy::read(&stat, ticks.unsigned_abs()).context("no times in /proc/stat")?;
        Ok(Self {
            at: Instant::now(),
            machine,
            own: process::own_cpu_time()?,
        })
    }

    /// What others took from then until now. Children must have been waited for.
    pub(crate) fn disturbance(&self) -> Result<Disturbance> {
        let now = Self::now()?;
        let elapsed = now.at.duration_since(self.at).as_secs_f64();
        let used = now.machine.used.saturating_sub(self.machine.used);
        let others = used.saturating_sub(now.own.saturating_sub(self.own));
        let stolen = now.machine.stolen.saturating_sub(self.machine.stolen);
        Ok(Disturbance {
            others: others.as_secs_f64() / elapsed,
            stolen: stolen.as_secs_f64() / elapsed,
        })
    }
}

impl Disturbance {
    /// In words, on a machine of so many cores.
    pub(crate) fn text(&self, cores: usize) -> String {
        format!(
            "other processes kept {:.2} of {cores} cores busy meanwhile, the hypervisor {:.2}",
            self.others, self.stolen
        )
    }
}

impl Busy {
    /// From the first line of `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq,
    /// softirq, steal, in `ticks` a second.
    fn read(stat: &str, ticks: u64) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let mut fields = line
            .split_whitespace()
            .map(|field| field.parse::<u64>().ok());
        let mut next = || fields.next().flatten();
        let (user, nice, system, _idle, _iowait) = (next()?, next()?, next()?, next()?, next()?);
        let (irq, softirq, steal) = (next()?, next()?, next()?);
        let time = |count: u64| {
            Some(Duration::from_millis(
                count.checked_mul(1000)? / ticks.max(1),
            ))
        };
        Some(Self {
            used: time(user + nice + system + irq + softirq)?,
            stolen: time(steal)?,
        })
    }
}

/// The Gregorian date of a day counted from 1970-01-01.
fn date(mut day: u64) -> String {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    loop {
        let days = if leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        let days = [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (20_088, "2024-12-31"),
            (20_089, "2025-01-01"),
        ];
        for (day, text) in days {
            assert_eq!(date(day), text);
        }
    }

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        let stat = "cpu  100 20 30 4000 500 6 7 80 0 0\ncpu0 1 2 3\n";
        let busy = Busy::read(stat, 100).unwrap();
        assert_eq!(busy.used, Duration::from_millis(1630));
        assert_eq!(busy.stolen, Duration::from_millis(800));
        assert_eq!(Busy::read("cpu  1 2 3", 100), None);
        assert_eq!(Busy::read("", 100), None);
    }

    #[test]
    fn own_work_does_not_disturb() {
        let started = Moment::now().unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        let used = process::own_cpu_time().unwrap() - started.own;
        assert!(used > Duration::from_millis(10), "{used:?}");
        let disturbance = started.disturbance().unwrap();
        assert!(
            disturbance.others >= 0.0 && disturbance.stolen >= 0.0,
            "{disturbance:?}"
        );
    }

    #[test]
    fn the_machine_has_cores_and_a_kernel() {
        let machine = Machine::look();
        assert!(machine.cores >= 1);
        assert_ne!(machine.kernel, "unknown");
        assert_eq!(machine.date.len(), 10);
    }
}
