//! What a round trip and a connection cost in instructions and system calls: counts, which other
//! processes on the machine do not change.
//!
//! A proxy runs three times, with little work, with more round trips and with more connections;
//! the differences are what these cost, and its start drops out. One stream has one message in
//! flight and connections follow one another, so nothing is ever done for two at once: under load
//! a proxy needs fewer calls for each.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::callgrind;
use crate::load::fixed::{self, Work};
use crate::proxy::{Proxy, Under};
use crate::subject::Subject;

const LITTLE: Work = Work {
    trips: 100,
    connections: 20,
};
const MORE_TRIPS: Work = Work {
    trips: 1100,
    ..LITTLE
};
const MORE_CONNECTIONS: Work = Work {
    connections: 220,
    ..LITTLE
};
/// strace writes its table a little after the proxy has ended.
const TABLE_LIMIT: Duration = Duration::from_secs(5);
const TABLE_POLL: Duration = Duration::from_millis(10);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Instructions in user space, by callgrind.
    Instructions,
    /// System calls of all threads, by strace.
    Calls,
}

impl Counted {
    /// In words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Calls => "system calls",
        }
    }
}

/// What one of each costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Counts {
    /// A 64-byte message and its reply on a connection that stands.
    pub(crate) trip: f64,
    /// From accept to close, with a byte each way.
    pub(crate) connection: f64,
}

/// Counts for `subject`; configs and logs go into `folder`.
pub(crate) fn count(counted: Counted, subject: &Subject, folder: &Path) -> Result<Counts> {
    let total = |work| {
        let total = total(counted, subject, work, folder)?;
        // One part in 2^52 is no instruction.
        #[expect(clippy::cast_precision_loss, reason = "totals are below 2^52")]
        anyhow::Ok(total as f64)
    };
    let (little, trips, connections) =
        (total(LITTLE)?, total(MORE_TRIPS)?, total(MORE_CONNECTIONS)?);
    Ok(Counts {
        trip: (trips - little) / f64::from(MORE_TRIPS.trips - LITTLE.trips),
        connection: (connections - little)
            / f64::from(MORE_CONNECTIONS.connections - LITTLE.connections),
    })
}

/// The count over the whole life of a proxy that does `work`.
fn total(counted: Counted, subject: &Subject, work: Work, folder: &Path) -> Result<u64> {
    let table = folder.join(format!("{}.counts", subject.name));
    // Not that of another run.
    if table.exists() {
        fs::remove_file(&table).with_context(|| format!("remove {}", table.display()))?;
    }
    if counted == Counted::Instructions && !callgrind::is_here() {
        bail!("valgrind is not installed");
    }
    let under = match counted {
        Counted::Instructions => Under::Callgrind(&table),
        Counted::Calls => Under::Strace(&table),
    };
    let proxy = Proxy::start(subject, under, folder)?;
    fixed::run(proxy.target(), work)?;
    proxy.stop()?;
    let parse = match counted {
        Counted::Instructions => callgrind::collected,
        Counted::Calls => calls,
    };
    let deadline = Instant::now() + TABLE_LIMIT;
    loop {
        let text = fs::read_to_string(&table).unwrap_or_default();
        if let Some(total) = parse(&text) {
            return Ok(total);
        }
        if Instant::now() >= deadline {
            bail!("no total of {}: {text:?}", counted.name());
        }
        thread::sleep(TABLE_POLL);
    }
}

/// The last line of `strace -c`: share, seconds, microseconds a call, calls, maybe errors, `total`.
fn calls(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_calls_is_found_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                      50.00    0.000012           1         8         2 read\n\
                     100.00    0.000024           1        19         2 total\n";
        assert_eq!(calls(table), Some(19));
        assert_eq!(
            calls("100.00    0.000024           1        17           total\n"),
            Some(17)
        );
        assert_eq!(calls("strace: Process 5 detached\n"), None);
    }

    #[test]
    fn each_run_has_more_of_one_thing_only() {
        assert_eq!(MORE_TRIPS.connections, LITTLE.connections);
        assert_eq!(MORE_CONNECTIONS.trips, LITTLE.trips);
    }
}
