//! What stands behind the TUN device: sansbox, and sing-box and Xray with their stacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::stage::{ADDRESS, DEVICE, FAR, SOCKS_PORT};
use crate::args::Tun;
use crate::guard;
use crate::subject::{self, Folders};

/// sansbox with its defaults: MTU 1500, and the device cuts and joins segments.
pub(super) const SANSBOX: &str = "sansbox";
/// sing-box's stacks begin like this.
pub(super) const SING_BOX: &str = "sing-box";
const XRAY: &str = "xray";
const XRAY_PACKAGE: &str = "github.com/xtls/xray-core/main@v1.260327.0";
const MTU_MAX: u16 = 65_535;

const ASK_LIMIT: Duration = Duration::from_secs(20);
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// How a subject is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// With another MTU than the default, if one is given.
    Sansbox(Option<u16>),
    /// The name of a stack, and the MTU. Where the device can cut segments, sing-box has it do so
    /// by itself: with gvisor below an MTU of 49152.
    SingBox(&'static str, u16),
    /// The MTU.
    Xray(u16),
}

/// All of them, in the order of the report.
const ALL: [(&str, Setup); 7] = [
    (SANSBOX, Setup::Sansbox(None)),
    ("sansbox-65535", Setup::Sansbox(Some(MTU_MAX))),
    ("sing-box-system", Setup::SingBox("system", MTU_MAX)),
    ("sing-box-gvisor", Setup::SingBox("gvisor", MTU_MAX)),
    ("sing-box-mixed", Setup::SingBox("mixed", MTU_MAX)),
    ("sing-box-gvisor-1500", Setup::SingBox("gvisor", 1500)),
    (XRAY, Setup::Xray(MTU_MAX)),
];

/// The names, in the order of the report.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().map(|(name, _)| name)
}

/// A program with a configuration.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// As in the reports.
    pub(super) name: &'static str,
    program: PathBuf,
    /// What it says about its version.
    pub(super) version: String,
    setup: Setup,
}

/// What a subject is run with, and what it says about its version.
type Program = (PathBuf, String);

/// The subjects that are asked for and can run here, and why the others cannot.
pub(super) fn find(args: &Tun, folders: &Folders) -> Result<(Vec<Subject>, Vec<String>)> {
    for name in &args.only {
        if !names().any(|known| known == name) {
            let known: Vec<&str> = names().collect();
            bail!("no subject is called {name:?}: {}", known.join(", "));
        }
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let (mut subjects, mut remarks) = (Vec::new(), Vec::new());
    let mut last: Option<(&str, Option<Program>)> = None;
    for (name, setup) in ALL.into_iter().filter(|(name, _)| wanted(name)) {
        let family = setup.family();
        if last.as_ref().is_none_or(|(known, _)| *known != family) {
            let program = match setup.program(args, folders) {
                Ok(program) => Some(program),
                Err(error) => {
                    remarks.push(crate::left_out(family, &error));
                    None
                }
            };
            last = Some((family, program));
        }
        if let Some((_, Some((program, version)))) = &last {
            subjects.push(Subject {
                name,
                program: program.clone(),
                version: version.clone(),
                setup,
            });
        }
    }
    Ok((subjects, remarks))
}

impl Setup {
    const fn family(self) -> &'static str {
        match self {
            Self::Sansbox(_) => SANSBOX,
            Self::SingBox(..) => SING_BOX,
            Self::Xray(_) => XRAY,
        }
    }

    fn program(self, args: &Tun, folders: &Folders) -> Result<Program> {
        let named = match self {
            Self::Sansbox(_) => {
                let mut own = subject::sansbox(folders, args.sansbox.as_deref())?;
                let first = own.drain(..).next().context("no sansbox")?;
                return Ok((first.program, first.version));
            }
            Self::SingBox(..) => args.sing_box.as_deref(),
            Self::Xray(_) => args.xray.as_deref(),
        };
        let program = match (named, installed(folders, self.family()), self) {
            (Some(named), _, _) => named.to_path_buf(),
            (None, Some(installed), _) => installed,
            (None, None, Self::Xray(_)) => build_xray(folders)?,
            (None, None, _) => subject::peer(folders, SING_BOX)?.program,
        };
        let said = guard::output(Command::new(&program).arg("version"), ASK_LIMIT)?;
        let version = said.lines().next().context("it says no version")?;
        Ok((program, version.trim().to_owned()))
    }

    fn config(self) -> Value {
        let mut inbound = json!({
            "type": "tun", "tag": "in", "interface_name": DEVICE,
            "address": [format!("{ADDRESS}/30")], "auto_route": false,
        });
        let outbound = json!({
            "type": "socks", "tag": "out", "server": FAR.to_string(), "server_port": SOCKS_PORT,
        });
        let own: &[(&str, Value)] = match self {
            Self::Sansbox(None) => &[("sansbox", json!({"icmp_echo": "reply"}))],
            Self::Sansbox(Some(mtu)) => &[
                ("sansbox", json!({"icmp_echo": "reply"})),
                ("mtu", json!(mtu)),
            ],
            Self::SingBox(stack, mtu) => &[("stack", json!(stack)), ("mtu", json!(mtu))],
            Self::Xray(mtu) => return xray_config(mtu),
        };
        for (key, value) in own {
            if let Some(fields) = inbound.as_object_mut() {
                fields.insert((*key).to_owned(), value.clone());
            }
        }
        json!({"log": {"level": "warn"}, "inbounds": [inbound], "outbounds": [outbound]})
    }
}

fn xray_config(mtu: u16) -> Value {
    json!({
        "log": {"loglevel": "warning"},
        "inbounds": [{
            "tag": "in", "port": 0, "protocol": "tun",
            "settings": {"name": DEVICE, "MTU": mtu},
        }],
        "outbounds": [{
            "tag": "out", "protocol": "socks",
            "settings": {"servers": [{"address": FAR.to_string(), "port": SOCKS_PORT}]},
        }],
    })
}

impl Subject {
    /// Runs it with a config file in `folder`.
    pub(super) fn command(&self, folder: &Path) -> Result<Command> {
        let path = folder.join(format!("tun-{}.json", self.name));
        let config = serde_json::to_string_pretty(&self.setup.config())?;
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        let mut command = Command::new(&self.program);
        command.args(["run", "-c"]).arg(path);
        Ok(command)
    }

    /// Whether it leaves the device's address to others.
    pub(super) const fn wants_address(&self) -> bool {
        matches!(self.setup, Setup::Xray(_))
    }
}

/// Where `.ci/run` puts its peers, or on the path.
fn installed(folders: &Folders, file: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    [folders.target.join("peers").join("bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(file))
        .find(|program| program.is_file())
}

fn build_xray(folders: &Folders) -> Result<PathBuf> {
    let folder = folders.scratch.join("go");
    let program = folder.join(XRAY);
    if !program.is_file() {
        eprintln!("building {XRAY_PACKAGE}");
        let mut build = Command::new("go");
        build.args(["install", XRAY_PACKAGE]);
        build.envs([("GOTOOLCHAIN", "local"), ("GOFLAGS", "-buildvcs=false")]);
        guard::output(build.env("GOBIN", &folder), BUILD_LIMIT)?;
        fs::rename(folder.join("main"), &program).context("name the Xray binary")?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_differ_in_what_their_names_say() {
        let configs = ALL.map(|(_, setup)| setup.config());
        let inbound = |n: usize| &configs[n]["inbounds"][0];
        assert_eq!(inbound(0)["sansbox"]["icmp_echo"], "reply");
        assert!(inbound(0).get("mtu").is_none() && inbound(0).get("stack").is_none());
        assert_eq!(inbound(1)["mtu"], 65_535);
        let stacks: Vec<&Value> = (2..6).map(|n| &inbound(n)["stack"]).collect();
        assert_eq!(stacks, ["system", "gvisor", "mixed", "gvisor"]);
        assert_eq!(inbound(5)["mtu"], 1500);
        assert_eq!(inbound(6)["settings"]["MTU"], 65_535);
        for config in &configs[..6] {
            assert_eq!(config["inbounds"][0]["address"][0], "10.11.12.1/30");
            assert_eq!(config["outbounds"][0]["server"], "10.99.0.2");
        }
    }
}
