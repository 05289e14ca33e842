//! Other simulators: programs of a workspace of their own, built beside ours.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::figures::Figure;
use crate::guard;
use crate::subject::Folders;

pub(super) const TURMOIL: &str = "turmoil";
pub(super) const MADSIM: &str = "madsim";
/// In the order of a round.
pub(super) const NAMES: [&str; 2] = [TURMOIL, MADSIM];

const BUILD_LIMIT: Duration = Duration::from_secs(1800);
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// A simulator that is ready to run.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    program: PathBuf,
    version: String,
}

impl Peer {
    /// Brings the program up to date, in a target folder that no other build shares: madsim's
    /// flags would rebuild everything there.
    ///
    /// Errors when cargo fails or the lock file does not name the simulator.
    pub(super) fn build(folders: &Folders, name: &'static str) -> Result<Self> {
        let crate_folder = folders.workspace.join("bench/sim-peers");
        let lock = crate_folder.join("Cargo.lock");
        let lock =
            std::fs::read_to_string(&lock).with_context(|| format!("read {}", lock.display()))?;
        let version = locked_version(&lock, name).context("it is not in the lock file")?;
        let target = folders.target.join("sim-peers").join(name);
        let binary = format!("sim-peer-{name}");
        let given = std::env::var("RUSTFLAGS").unwrap_or_default();
        let mut build = Command::new("cargo");
        build
            .args(["build", "--locked", "--quiet", "--release"])
            .args(["--features", name, "--bin", &binary, "--manifest-path"])
            .arg(crate_folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", flags(name, &given));
        guard::output(&mut build, BUILD_LIMIT)?;
        let program = target.join("release").join(binary);
        ensure!(program.is_file(), "there is no {}", program.display());
        Ok(Self {
            name,
            program,
            version: version.to_owned(),
        })
    }

    /// Name and version.
    pub(super) fn version(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// One round: virtual seconds per second of a core.
    ///
    /// Errors when the figure is not for peers, the program fails, or says something else.
    pub(super) fn rate(&self, figure: &Figure) -> Result<f64> {
        let pair = figure.pair.as_ref().context("not a figure of peers")?;
        let seconds = figure.length_for(self.name).context("no length")?;
        let mut command = Command::new(&self.program);
        command.args([pair.every.to_string(), seconds.to_string()]);
        let printed = guard::output(&mut command, RUN_LIMIT)?;
        read_rate(&printed, self.name, figure.id)
    }
}

/// The flags of the build, beside `given` ones, which ours had as well: madsim is the real
/// network unless told otherwise.
fn flags(name: &str, given: &str) -> String {
    let own = if name == MADSIM { "--cfg madsim" } else { "" };
    format!("{given} {own}").trim().to_owned()
}

/// The value of the one object that a peer prints.
fn read_rate(printed: &str, subject: &str, figure: &str) -> Result<f64> {
    let object: Value = serde_json::from_str(printed).context("not a JSON object")?;
    let says = |key: &str| object.get(key).and_then(Value::as_str);
    if says("subject") != Some(subject) || says("figure") != Some(figure) {
        bail!("not {figure} of {subject}: {}", printed.trim());
    }
    let value = object.get("value").and_then(Value::as_f64);
    let value = value.with_context(|| format!("no value: {}", printed.trim()))?;
    ensure!(value > 0.0, "a rate of {value}");
    Ok(value)
}

/// The version of a package in a lock file.
fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let wanted = format!("name = \"{name}\"");
    let mut lines = lock.lines();
    lines.find(|line| *line == wanted)?;
    lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_rate_must_be_of_the_subject_and_figure() {
        let line = |subject, value: &str| {
            format!(r#"{{"subject": "{subject}", "figure": "echo_10ms", "value": {value}}}"#)
        };
        let read = |printed: String| read_rate(&printed, TURMOIL, "echo_10ms");
        assert_eq!(read(line(TURMOIL, "41.5")).unwrap(), 41.5);
        assert!(read(line(MADSIM, "41.5")).is_err());
        assert!(read(line(TURMOIL, "0")).is_err());
        assert!(read(line(TURMOIL, "\"41\"")).is_err());
        assert!(read_rate(&line(TURMOIL, "1"), TURMOIL, "echo_1000ms").is_err());
        assert!(read(String::new()).is_err());
    }

    #[test]
    fn madsim_is_told_to_simulate() {
        assert_eq!(flags(MADSIM, ""), "--cfg madsim");
        assert_eq!(
            flags(MADSIM, "-C debuginfo=1"),
            "-C debuginfo=1 --cfg madsim"
        );
        assert_eq!(flags(TURMOIL, "-C debuginfo=1"), "-C debuginfo=1");
        assert_eq!(flags(TURMOIL, ""), "");
    }

    #[test]
    fn the_lock_file_names_every_peer() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("sim-peers/Cargo.lock");
        let lock = std::fs::read_to_string(file).unwrap();
        for name in NAMES {
            assert!(locked_version(&lock, name).is_some(), "{name}");
        }
        assert_eq!(locked_version(&lock, "turmoi"), None);
    }
}
