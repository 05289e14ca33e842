//! A running proxy under test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guard::Guarded;
use crate::load::{PATIENCE, Target};
use crate::socks::Way;
use crate::subject::Subject;

/// How often a starting proxy is tried.
const READY_POLL: Duration = Duration::from_micros(200);
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Below the range from which Linux takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 21_000..31_000;
/// How much of a failed proxy's last words is repeated.
const LOG_TAIL_LINES: usize = 5;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A proxy that accepts connections. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Guarded,
    way: Way,
    /// From before the spawn until the first accepted connection.
    pub(crate) ready_after: Duration,
}

impl Proxy {
    /// Starts `subject`, with exactly `file_limit` open files allowed if given, and waits until it
    /// accepts. Config and log go into `folder`.
    pub(crate) fn start(subject: &Subject, file_limit: Option<u64>, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let arguments = subject.arguments(port, folder)?;
        let mut command = match file_limit {
            // Replaces itself by the program, so the process id is the proxy's.
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command
                    .arg(format!("--nofile={limit}:{limit}"))
                    .arg(&subject.program);
                command
            }
            None => Command::new(&subject.program),
        };
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
fn tail(log: &Path) -> String {
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
fn free_port() -> Result<u16> {
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
