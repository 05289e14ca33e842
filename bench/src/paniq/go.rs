//! The Go programs as daemons: `paniq-socks` in the place of the client, `paniq-proxy` in that of
//! the server.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::daemons::spawn;
use crate::guard::Guarded;

/// The client's program and the server's.
pub(super) const PROGRAMS: [&str; 2] = ["paniq-socks", "paniq-proxy"];
/// More than any load has at a time.
const CONNECTIONS_MAX: u32 = 1024;

/// Starts one of them, in `folder`, to listen on this port of loopback. Its configuration and log go
/// into `scratch`.
pub(super) fn start(
    folder: &Path,
    name: &str,
    scratch: &Path,
    (profile, port): (&str, u16),
) -> Result<Guarded> {
    let config = scratch.join(format!("{name}.json"));
    let settings = json!({
        "listen_addr": format!("127.0.0.1:{port}"),
        "workers": CONNECTIONS_MAX,
        "max_connections": CONNECTIONS_MAX,
        "metrics_interval": "0s",
    });
    fs::write(&config, serde_json::to_vec(&settings)?)?;
    let mut command = Command::new(folder.join(name));
    command.arg("-config").arg(config);
    command.args(["-profile", profile]);
    spawn(command, scratch, name)
}
