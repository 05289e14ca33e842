//! sansbox on each of its event loops. What no path was given for is built from this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    ASK_LIMIT, Folders, SANSBOX, SANSBOX_AUTH, SANSBOX_EPOLL, SANSBOX_SMOL, SANSBOX_SYSTEM_CC,
    SANSBOX_UNRECORDED, Setup, Subject, first_line,
};
use crate::guard;

/// A release build of the workspace from nothing on a small machine.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// How `sansbox version` names the runtime of [`SANSBOX_SMOL`].
const SMOL_TAG: &str = "runtime_smol";
/// In place of a version, which the example does not have.
const EPOLL_IS: &str = "the example `epoll`: the engine on a plain loop";
/// What [`SANSBOX_EPOLL`] is not asked for.
const EPOLL_LACKS: &str = "one thread, no configuration (so no users, no rules), no UDP, no \
     splice(2), no socket options";

/// The event loops beside tokio that can be asked for.
const LOOPS: [&str; 2] = ["smol", "epoll"];

/// sansbox on tokio and its variants.
pub(crate) fn sansbox(folders: &Folders, named: Option<&Path>) -> Result<Vec<Subject>> {
    let variants = [
        (SANSBOX, Setup::Config),
        (SANSBOX_SYSTEM_CC, Setup::ConfigSystemCongestion),
        (SANSBOX_AUTH, Setup::ConfigAuth),
    ];
    Ok(on_tokio(folders, named, variants)?.into())
}

/// sansbox with its recorder as it comes, and with its recorder off.
pub(crate) fn with_and_without_recorder(
    folders: &Folders,
    named: Option<&Path>,
) -> Result<[Subject; 2]> {
    let variants = [
        (SANSBOX, Setup::Config),
        (SANSBOX_UNRECORDED, Setup::ConfigUnrecorded),
    ];
    on_tokio(folders, named, variants)
}

fn on_tokio<const N: usize>(
    folders: &Folders,
    named: Option<&Path>,
    variants: [(&'static str, Setup); N],
) -> Result<[Subject; N]> {
    let program = program(
        folders,
        named,
        &folders.target,
        "sansbox",
        &["-p", "sansbox"],
    )?;
    let said = guard::output(Command::new(&program).arg("version"), ASK_LIMIT)?;
    let version = first_line(&said)?;
    if said.contains(SMOL_TAG) {
        bail!("{} was built with another runtime", program.display());
    }
    let subject = |(name, setup)| Subject {
        name,
        program: program.clone(),
        version: version.clone(),
        setup,
    };
    Ok(variants.map(subject))
}

/// sansbox on another event loop, with its defaults, and what is to be said of it.
pub(crate) fn on_loop(
    folders: &Folders,
    event_loop: &str,
    named: Option<&Path>,
) -> Result<(Subject, Option<String>)> {
    match event_loop {
        "smol" => Ok((smol(folders, named)?, None)),
        "epoll" => {
            let remark = format!("{SANSBOX_EPOLL}: {EPOLL_LACKS}.");
            Ok((epoll(folders, named)?, Some(remark)))
        }
        other => bail!("no event loop is called {other:?}: {}", LOOPS.join(", ")),
    }
}

fn smol(folders: &Folders, named: Option<&Path>) -> Result<Subject> {
    let package = [
        "-p",
        "sansbox",
        "--no-default-features",
        "--features",
        "runtime-smol",
    ];
    // In a folder of its own: the file has the same name as that with tokio.
    let target = folders.target.join("smol");
    let program = program(folders, named, &target, "sansbox", &package)?;
    let said = guard::output(Command::new(&program).arg("version"), ASK_LIMIT)?;
    if !said.contains(SMOL_TAG) {
        bail!("{} was built with another runtime", program.display());
    }
    Ok(Subject {
        name: SANSBOX_SMOL,
        program,
        version: first_line(&said)?,
        setup: Setup::Config,
    })
}

fn epoll(folders: &Folders, named: Option<&Path>) -> Result<Subject> {
    let package = ["-p", "sansbox-examples", "--bin", "epoll"];
    let program = program(folders, named, &folders.target, "epoll", &package)?;
    Ok(Subject {
        name: SANSBOX_EPOLL,
        program,
        version: EPOLL_IS.into(),
        setup: Setup::PortAlone,
    })
}

/// The named program, or that of a release build, which cargo brings up to date.
fn program(
    folders: &Folders,
    named: Option<&Path>,
    target: &Path,
    file: &str,
    package: &[&str],
) -> Result<PathBuf> {
    let program = match named {
        Some(path) => path.to_path_buf(),
        None => {
            eprintln!("building {}", package.join(" "));
            let mut build = Command::new("cargo");
            build
                .current_dir(&folders.workspace)
                .args(["build", "--release", "--quiet"])
                .args(package)
                .arg("--target-dir")
                .arg(target);
            guard::output(&mut build, BUILD_LIMIT)?;
            target.join("release").join(file)
        }
    };
    if !program.is_file() {
        bail!("there is no {}", program.display());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_another_runtime_is_refused() {
        let folders = Folders::find().unwrap();
        let smol = |path| on_loop(&folders, "smol", Some(Path::new(path)));
        let error = smol("/nonexistent").unwrap_err();
        assert!(error.to_string().contains("there is no"), "{error}");
        let error = smol("/bin/echo").unwrap_err();
        assert!(error.to_string().contains("another runtime"), "{error}");
    }

    #[test]
    fn an_unknown_event_loop_names_the_known_ones() {
        let error = on_loop(&Folders::find().unwrap(), "kqueue", None).unwrap_err();
        assert!(error.to_string().ends_with("smol, epoll"), "{error}");
    }
}
