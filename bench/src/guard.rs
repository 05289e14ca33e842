//! Child processes that do not outlive the run, however it ends.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code after a signal, as shells report SIGINT.
const EXIT_INTERRUPTED: i32 = 130;
/// How often a bounded command is asked whether it has ended.
const EXIT_POLL: Duration = Duration::from_millis(20);

static LIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn live() -> MutexGuard<'static, BTreeSet<i32>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill_all() {
    for &pid in live().iter() {
        // The process may have gone by itself; it stays a zombie of ours until waited for, so the
        // number cannot have been given to another.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = waitpid(Pid::from_raw(pid), None);
    }
}

/// Kills the children on SIGINT, SIGTERM, SIGHUP and on a panic (which aborts in release builds and
/// so runs no destructor).
pub(crate) fn install() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("catch signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if signals.forever().next().is_some() {
                kill_all();
                exit(EXIT_INTERRUPTED);
            }
        })?;
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        kill_all();
        default(panic);
    }));
    Ok(())
}

/// A child process, killed by its id and waited for when dropped.
#[derive(Debug)]
pub(crate) struct Guarded(Child);

impl Guarded {
    /// Starts `command`.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let this = Self(child);
        live().insert(this.pid().as_raw());
        Ok(this)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// The exit status if it has ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// The child, to take its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        live().remove(&self.pid().as_raw());
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end and returns its standard output; its standard error is inherited.
///
/// Errors when it cannot be started, fails, or has not ended after `limit`.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Guarded::spawn(command).with_context(|| format!("start {name}"))?;
    let mut pipe = child
        .child()
        .stdout
        .take()
        .context("no pipe for standard output")?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.ended()? {
            break status;
        }
        if Instant::now() >= deadline {
            bail!("{name} has not ended after {limit:?}");
        }
        thread::sleep(EXIT_POLL);
    };
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    let bytes = reader.join().ok().context("the output reader panicked")??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_guard_leaves_no_process() {
        let guarded = Guarded::spawn(Command::new("sleep").arg("60")).unwrap();
        let pid = guarded.pid();
        assert!(kill(pid, None).is_ok());
        drop(guarded);
        assert!(kill(pid, None).is_err());
        assert!(!live().contains(&pid.as_raw()));
    }

    #[test]
    fn output_reports_text_failure_and_overrun() {
        let limit = Duration::from_secs(10);
        assert_eq!(
            output(Command::new("echo").arg("hello"), limit).unwrap(),
            "hello\n"
        );
        assert!(output(&mut Command::new("false"), limit).is_err());
        let started = Instant::now();
        let overrun = output(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(overrun.unwrap_err().to_string().contains("has not ended"));
        assert!(started.elapsed() < limit);
    }
}
