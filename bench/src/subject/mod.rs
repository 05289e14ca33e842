//! What is measured: sansbox as it comes, its variants, and the peers.

mod own;
mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::guard;
use crate::socks::Credentials;
pub(crate) use own::{BUILD_LIMIT, on_loop, sansbox, with_and_without_recorder};
pub(crate) use peers::peer;

/// sansbox with its defaults.
pub(crate) const SANSBOX: &str = "sansbox";
/// sansbox with the system's congestion controller on loopback too; bulk only.
pub(crate) const SANSBOX_SYSTEM_CC: &str = "sansbox-system-cc";
/// sansbox with a user and a few rules; idle memory only.
pub(crate) const SANSBOX_AUTH: &str = "sansbox-auth";
/// sansbox with its flight recorder off; beside [`SANSBOX`] in the bench `recorder` only.
pub(crate) const SANSBOX_UNRECORDED: &str = "sansbox-unrecorded";
/// sansbox on the other runtime.
pub(crate) const SANSBOX_SMOL: &str = "sansbox-smol";
/// The same machines on the plain loop of the example `epoll`.
pub(crate) const SANSBOX_EPOLL: &str = "sansbox-epoll";
/// The reference peer.
pub(crate) const SING_BOX: &str = "sing-box";
/// The small peer.
pub(crate) const MICROSOCKS: &str = "microsocks";

/// The sansbox-only key of [`SANSBOX_SYSTEM_CC`], at the top level of its config.
const SYSTEM_CONGESTION: (&str, &str) = ("sansbox", r#"{"loopback_congestion": "system"}"#);
const USER: Credentials = Credentials {
    username: "bench",
    password: "carry-me-through",
};

/// A question for a version or a folder.
const ASK_LIMIT: Duration = Duration::from_secs(20);

/// How a subject is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// A config file: SOCKS without users in, direct out.
    Config,
    /// The same with [`SYSTEM_CONGESTION`].
    ConfigSystemCongestion,
    /// The same with the flight recorder off.
    ConfigUnrecorded,
    /// The same with a user and rules.
    ConfigAuth,
    /// microsocks' own options.
    Options,
    /// The port of the example `epoll`, which then logs nothing.
    PortAlone,
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
            SANSBOX | SANSBOX_SYSTEM_CC | SANSBOX_AUTH | SANSBOX_SMOL | SANSBOX_EPOLL
        )
    }

    /// The arguments that make it serve SOCKS5 on 127.0.0.1:`port`; writes a config file into
    /// `folder` if the program wants one.
    pub(crate) fn arguments(&self, port: u16, folder: &Path) -> Result<Vec<String>> {
        let port_text = port.to_string();
        match self.setup {
            Setup::Options => {
                return Ok(["-i", "127.0.0.1", "-p", &port_text]
                    .map(String::from)
                    .into());
            }
            Setup::PortAlone => return Ok(vec![port_text, "quiet".into()]),
            Setup::Config
            | Setup::ConfigSystemCongestion
            | Setup::ConfigUnrecorded
            | Setup::ConfigAuth => {}
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
        Setup::Config | Setup::Options | Setup::PortAlone => {}
        Setup::ConfigSystemCongestion => {
            let (key, value) = SYSTEM_CONGESTION;
            fields.insert(key.into(), serde_json::from_str(value)?);
        }
        Setup::ConfigUnrecorded => {
            let off = json!({ "recorder": { "mode": "off" } });
            fields.insert("sansbox".into(), off);
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
}
