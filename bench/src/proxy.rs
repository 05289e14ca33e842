//! A running proxy under test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};

use crate::guard::Guarded;
use crate::load::{PATIENCE, Target};
use crate::socks::Way;
use crate::subject::Subject;

/// How often a starting proxy is tried.
const READY_POLL: Duration = Duration::from_micros(200);
const READY_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const STOP_POLL: Duration = Duration::from_millis(5);
/// Below the range from which Linux takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 21_000..31_000;
/// How much of a failed proxy's last words is repeated.
const LOG_TAIL_LINES: usize = 5;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// The program that starts a proxy, if it does not start by itself. Each becomes the proxy, or
/// leaves it our child, so that the process id is the proxy's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Under<'a> {
    /// Nothing.
    Nothing,
    /// prlimit, with exactly so many open files allowed.
    FileLimit(u64),
    /// valgrind, which writes its summary there.
    Callgrind(&'a Path),
    /// strace, which writes its table there.
    Strace(&'a Path),
}

impl Under<'_> {
    fn command(self, program: &Path) -> Command {
        let (starter, arguments) = match self {
            Self::Nothing => return Command::new(program),
            Self::FileLimit(limit) => ("prlimit", vec![format!("--nofile={limit}:{limit}")]),
            Self::Callgrind(summary) => {
                let log = format!("--log-file={}", summary.display());
                let fixed = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
                ("valgrind", vec![fixed[0].into(), fixed[1].into(), log])
            }
            Self::Strace(table) => {
                let table = table.display().to_string();
                let fixed = ["-D", "-f", "-q", "-c", "-o"].map(String::from);
                ("strace", fixed.into_iter().chain([table]).collect())
            }
        };
        let mut command = Command::new(starter);
        command.args(arguments).arg(program);
        command
    }
}

/// A proxy that accepts connections. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Guarded,
    way: Way,
    /// From before the spawn until the first accepted connection.
    pub(crate) ready_after: Duration,
}

impl Proxy {
    /// Starts `subject` and waits until it accepts. Config and log go into `folder`.
    pub(crate) fn start(subject: &Subject, under: Under<'_>, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let arguments = subject.arguments(port, folder)?;
        let mut command = under.command(&subject.program);
        let log = folder.join(format!("{}.log", subject.name));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = Instant::now();
        let mut process = Guarded::spawn(&mut command)
            .with_context(|| format!("start {}", subject.program.display()))?;
        wait_until_ready(&mut process, address, &log)?;
        let ready_after = started.elapsed();
        let way = Way {
            proxy: address,
            credentials: subject.credentials(),
            patience: PATIENCE,
        };
        Ok(Self {
            process,
            way,
            ready_after,
        })
    }

    /// What the load generators need to know.
    pub(crate) fn target(&self) -> Target {
        Target {
            way: self.way,
            pid: self.process.pid(),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(self.process.pid(), Signal::SIGTERM).context("stop the proxy")?;
        let deadline = Instant::now() + STOP_LIMIT;
        while self.process.ended()?.is_none() {
            if Instant::now() >= deadline {
                bail!("has not ended {STOP_LIMIT:?} after SIGTERM");
            }
            thread::sleep(STOP_POLL);
        }
        Ok(())
    }
}

fn wait_until_ready(process: &mut Guarded, address: SocketAddr, log: &Path) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = process.ended()? {
            bail!("ended at start with {status}: {}", tail(log));
        }
        if Instant::now() >= deadline {
            bail!("did not listen within {READY_LIMIT:?}: {}", tail(log));
        }
        thread::sleep(READY_POLL);
    }
    Ok(())
}

/// The last lines of a log, on one line and without colours.
pub(crate) fn tail(log: &Path) -> String {
    let text = plain(&fs::read_to_string(log).unwrap_or_default());
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .get(lines.len().saturating_sub(LOG_TAIL_LINES)..)
        .unwrap_or_default()
        .join(" | ")
}

/// `text` without ANSI colour sequences (ESC [ ... m).
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// A port nobody listens on now; another one each time.
/// A port that nobody has.
pub(crate) fn free_port() -> Result<u16> {
    let span = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id() % u32::from(span))?;
    for _ in 0..span {
        let next = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + first.wrapping_add(next) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free between {} and {}", PORTS.start, PORTS.end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off_a_log() {
        assert_eq!(plain("\u{1b}[31mFATAL\u{1b}[0m[0000] no"), "FATAL[0000] no");
        assert_eq!(plain("a [31m b"), "a [31m b");
    }

    #[test]
    fn ports_are_free_and_differ() {
        let (one, two) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, two);
        assert!(PORTS.contains(&one) && PORTS.contains(&two));
    }
}
