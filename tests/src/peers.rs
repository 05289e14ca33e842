//! Programs nobody here wrote: where they are, and how each is started.
use crate::{
    ports::free_port,
    process::{Process, START_TIMEOUT},
    proxy::build_dir,
    temp::TempDir,
};
use serde_json::Value;
use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Whether a missing peer is a failure: set where `.ci/run` has installed them all.
fn required() -> bool {
    env::var_os("SANSBOX_CI").is_some_and(|value| value == "1")
}

/// Path of a program, or none after saying why the test is skipped.
///
/// Looked for in `SANSBOX_PEERS`, `target/peers/bin`, `PATH` and the system's folders;
/// `SANSBOX_PEERS=none` stands for a machine that has none.
///
/// # Panics
/// When it is missing where it must not be (`SANSBOX_CI=1`).
#[must_use]
pub fn need(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// The same for a program that no registry has, so that it may be missing everywhere: whoever has
/// it puts it into one of these places.
#[must_use]
pub fn have(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        eprintln!("skipped: {program} is not installed, and can only be built by hand");
    }
    found
}

/// Says why a test is skipped, or fails where none may be skipped for a missing program.
fn skip(reason: &str) {
    assert!(!required(), "{reason}, and SANSBOX_CI=1 asks for it");
    eprintln!("skipped: {reason}");
}

fn find(program: &str) -> Option<PathBuf> {
    let ours = env::var_os("SANSBOX_PEERS").map(PathBuf::from);
    if ours.as_deref() == Some(Path::new("none")) {
        return None;
    }
    let built = build_dir()
        .parent()
        .map(|target| target.join("peers").join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    ours.into_iter()
        .chain(built)
        .chain(env::split_paths(&path).collect::<Vec<_>>())
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// A Python that has PySocks, or none after saying why the test is skipped.
///
/// # Panics
/// As [`need`].
#[must_use]
pub fn need_pysocks() -> Option<PathBuf> {
    let has_it = |python: &PathBuf| {
        let probe = Command::new(python).args(["-c", "import socks"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let found = ["pysocks-python", "python3"]
        .into_iter()
        .filter_map(find)
        .find(has_it);
    if found.is_none() {
        skip("no Python with PySocks");
    }
    found
}

/// A peer that listens on 127.0.0.1.
#[derive(Debug)]
pub struct Peer {
    /// The process.
    pub process: Process,
    /// Its port.
    pub port: u16,
    _dir: TempDir,
}

impl Peer {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn start(name: &str, command: &mut Command, port: u16, dir: TempDir) -> Self {
        command.current_dir(dir.path());
        let mut process = Process::spawn(name, command);
        let deadline = Instant::now() + START_TIMEOUT;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect(addr).is_err() {
            assert!(
                process.is_running() && Instant::now() < deadline,
                "{name} does not listen on {addr}; it said:\n{}",
                process.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            process,
            port,
            _dir: dir,
        }
    }
}

/// microsocks: SOCKS5, CONNECT only.
#[must_use]
pub fn microsocks(program: &Path, user: Option<(&str, &str)>) -> Peer {
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
    if let Some((name, password)) = user {
        command.args(["-u", name, "-P", password]);
    }
    Peer::start("microsocks", &mut command, port, TempDir::new())
}

/// Dante: SOCKS4 and SOCKS5 with UDP; no passwords, because those would be system accounts.
#[must_use]
pub fn danted(program: &Path) -> Peer {
    let port = free_port();
    let dir = TempDir::new();
    let (privileged, unprivileged) = if is_root() {
        ("root".to_owned(), "nobody".to_owned())
    } else {
        (user_name(), user_name())
    };
    let config = format!(
        "logoutput: stderr\n\
         internal: 127.0.0.1 port = {port}\n\
         external: lo\n\
         socksmethod: none\n\
         clientmethod: none\n\
         user.privileged: {privileged}\n\
         user.unprivileged: {unprivileged}\n\
         client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
         socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n"
    );
    let path = dir.write("danted.conf", config);
    let mut command = Command::new(program);
    command.arg("-f").arg(path).args(["-N", "1", "-p"]);
    command.arg(dir.path().join("danted.pid"));
    Peer::start("danted", &mut command, port, dir)
}

/// tinyproxy: HTTP proxy.
#[must_use]
pub fn tinyproxy(program: &Path, user: Option<(&str, &str)>) -> Peer {
    let port = free_port();
    let dir = TempDir::new();
    let mut config = format!(
        "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\n\
         LogLevel Connect\nDisableViaHeader No\n"
    );
    if let Some((name, password)) = user {
        config += &format!("BasicAuth {name} {password}\n");
    }
    let path = dir.write("tinyproxy.conf", config);
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(path);
    Peer::start("tinyproxy", &mut command, port, dir)
}

/// Xray with a configuration whose first inbound is on `port`.
#[must_use]
pub fn xray(program: &Path, port: u16, config: &Value) -> Peer {
    let dir = TempDir::new();
    let path = dir.write("xray.json", config.to_string());
    let mut command = Command::new(program);
    command.arg("run").arg("-c").arg(path);
    Peer::start("xray", &mut command, port, dir)
}

/// sing-box with a configuration whose first inbound is on `port`.
#[must_use]
pub fn sing_box(program: &Path, port: u16, config: &Value) -> Peer {
    let dir = TempDir::new();
    let path = dir.write("sing-box.json", config.to_string());
    let mut command = Command::new(program);
    command.args(["run", "--disable-color", "-c"]).arg(path);
    Peer::start("sing-box", &mut command, port, dir)
}

/// What both programs of the Go paniq are told beside their profile.
fn paniq_config(port: u16) -> Value {
    serde_json::json!({
        "listen_addr": format!("127.0.0.1:{port}"),
        "workers": 512,
        "max_connections": 1024,
        "metrics_interval": "0s",
    })
}

fn paniq_command(program: &Path, port: u16, profile: &Value, dir: &TempDir) -> Command {
    let mut command = Command::new(program);
    let config = dir.write("config.json", paniq_config(port).to_string());
    let profile = dir.write("profile.json", profile.to_string());
    command.arg("-config").arg(config);
    command.arg("-profile").arg(profile);
    command
}

/// paniq-socks, the Go client of paniq: SOCKS5, CONNECT only.
#[must_use]
pub fn paniq_socks(program: &Path, profile: &Value) -> Peer {
    let (port, dir) = (free_port(), TempDir::new());
    let mut command = paniq_command(program, port, profile, &dir);
    Peer::start("paniq-socks", &mut command, port, dir)
}

/// paniq-proxy, the Go server of paniq, on a port of UDP.
///
/// # Panics
/// When it does not say in time that it listens.
#[must_use]
pub fn paniq_proxy(program: &Path, port: u16, profile: &Value) -> Peer {
    let dir = TempDir::new();
    let mut command = paniq_command(program, port, profile, &dir);
    command.current_dir(dir.path());
    let mut process = Process::spawn("paniq-proxy", &mut command);
    process.wait_for_line("proxy server listening", START_TIMEOUT);
    Peer {
        process,
        port,
        _dir: dir,
    }
}

/// dnsmasq answering queries for `name` with `ip`.
#[must_use]
pub fn dnsmasq(program: &Path, name: &str, ip: Ipv4Addr) -> Peer {
    let port = free_port();
    let dir = TempDir::new();
    let mut command = Command::new(program);
    command
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts"])
        .args(["--conf-file=/dev/null", "--listen-address=127.0.0.1"])
        .args(["--bind-interfaces", "--log-facility=-", "--log-queries"])
        .arg(format!("--port={port}"))
        .arg(format!("--address=/{name}/{ip}"))
        .arg(format!("--user={}", user_name()))
        .arg(format!("--pid-file={}/pid", dir.path().display()));
    Peer::start("dnsmasq", &mut command, port, dir)
}

/// Whether this process may do everything.
#[must_use]
pub fn is_root() -> bool {
    id("-u") == "0"
}

fn user_name() -> String {
    id("-un")
}

fn id(flag: &str) -> String {
    let output = Command::new("id").arg(flag).output().expect("run id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
