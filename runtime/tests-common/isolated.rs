//! Network namespaces of one test each, and what `ip` says in them.
#![allow(dead_code, reason = "each test binary uses a part of it")]
use nix::sched::{CloneFlags, unshare};
use std::{
    fs::File,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

/// Longest wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a test on a thread in a network namespace of its own, which is gone afterwards; or says
/// why it cannot.
pub(crate) fn isolated(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if let Err(why) = enter() {
            eprintln!("skipped: {why}");
            return;
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn enter() -> Result<(), String> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|e| format!("cannot open /dev/net/tun: {e}"))?;
    let version = Command::new("ip").arg("-V").output();
    version.map_err(|e| format!("cannot run ip: {e}"))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("cannot make a network namespace: {e}"))
}

/// What `ip` printed, its words one space apart.
pub(crate) fn ip(arguments: &str) -> Vec<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = run(arguments);
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "ip {arguments}: {stderr}");
    let text = String::from_utf8(stdout).expect("text");
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect()
}

pub(crate) fn run(arguments: &str) -> Output {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output();
    output.expect("ip runs")
}

/// The rules of a family but those of the kernel.
pub(crate) fn rules(family: &str) -> Vec<String> {
    let standing = [
        "from all lookup local",
        "from all lookup main",
        "from all lookup default",
    ];
    let lines = ip(&format!("{family} rule")).into_iter();
    lines
        .filter(|line| !standing.iter().any(|end| line.ends_with(end)))
        .collect()
}

/// The routes of table 2022; a table that was never used is empty.
pub(crate) fn routes(family: &str) -> Vec<String> {
    let output = run(&format!("{family} route show table 2022"));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect()
}

/// Waits for what other threads may put off: a process that they start has all files of this one
/// until it runs its program.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: never");
        thread::sleep(Duration::from_millis(1));
    }
}
