//! Programs in namespaces, and how much tests move.
use sansbox_tests::{namespace::Namespace, process::Process};
use std::{env, path::Path, time::Duration};

/// What a program that ended by itself said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) text: String,
}

/// Runs a program, its arguments written with single spaces, until it ends.
///
/// Panics when it does not within `timeout`.
pub(crate) fn run(place: &Namespace, program: &Path, arguments: &str, timeout: Duration) -> Said {
    let mut process = spawn(place, program, arguments);
    let status = process.wait_exit(timeout);
    Said {
        success: status.success(),
        text: process.log(),
    }
}

/// Starts a program, its arguments written with single spaces.
pub(crate) fn spawn(place: &Namespace, program: &Path, arguments: &str) -> Process {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut command = place.command(program);
    command.args(arguments.split(' '));
    Process::spawn(&name, &mut command)
}

/// What a release must stand, or what every day's test has time for.
pub(crate) fn scaled<T>(full: T, daily: T) -> T {
    let is_full = env::var_os("SANSBOX_TUN_FULL").is_some_and(|value| value == "1");
    if is_full { full } else { daily }
}
