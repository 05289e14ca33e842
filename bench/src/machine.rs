//! The machine and the day a report speaks of.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

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
    fn the_machine_has_cores_and_a_kernel() {
        let machine = Machine::look();
        assert!(machine.cores >= 1);
        assert_ne!(machine.kernel, "unknown");
        assert_eq!(machine.date.len(), 10);
    }
}
