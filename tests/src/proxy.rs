//! The program under test.
use crate::{
    ports::free_port,
    process::{Process, START_TIMEOUT, STOP_TIMEOUT, Signal},
    record::Recordings,
    temp::TempDir,
};
use serde_json::{Value, json};
use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::OnceLock,
    thread,
};

/// What the program says once every bind succeeded; others wait for it too.
pub const STARTED: &str = "sing-box started";

/// Path of the program under test: `SANSBOX_BIN`, or what this workspace builds.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named_or_built("SANSBOX_BIN", "sansbox"))
}

/// Path of the simulator, which replays recordings: `SANSBOX_SIM_BIN`, or what this workspace
/// builds.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn simulator() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| named_or_built("SANSBOX_SIM_BIN", "sansbox-sim"))
}

fn named_or_built(variable: &str, program: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(path) => PathBuf::from(path)
            .canonicalize()
            .unwrap_or_else(|e| panic!("{variable} names a program: {e}")),
        None => build(program),
    }
}

/// Folder of what was built with the same profile as this test, such as `target/debug`.
///
/// # Panics
/// When the test was moved out of the folder it was built in.
#[must_use]
pub fn build_dir() -> PathBuf {
    let test = env::current_exe().expect("a test knows its path");
    let deps = test.parent().expect("a test stands in `deps`");
    deps.parent().expect("`deps` stands in a profile").into()
}

fn build(program: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // With the whole workspace selected, dependencies get the features they were built with for
    // the tests, and are not built again.
    command
        .args(["build", "--quiet", "--workspace", "--bin", program])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo says about this package: build scripts that look at it would run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if let Some(target) = build_dir().parent() {
        command.arg("--target-dir").arg(target);
    }
    let status = command.status().expect("run cargo");
    assert!(status.success(), "cargo could not build {program}");
    build_dir().join(format!("{program}{}", env::consts::EXE_SUFFIX))
}

/// A command that runs the program under test, with nothing of the caller's environment that
/// could change what it does.
#[must_use]
pub fn command() -> Command {
    clean(Command::new(binary()))
}

fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.ends_with("_PROXY") || upper.starts_with("ENABLE_DEPRECATED") {
            command.env_remove(name);
        }
    }
    command
}

/// A running instance of the program under test.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    port: u16,
    is_recorded: bool,
    dir: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A recording is written at the end, and not at all by a process that is killed.
        if self.is_recorded && self.process.is_running() {
            self.process.signal(Signal::Term);
            let end = STOP_TIMEOUT * 4;
            if !thread::panicking() {
                let _ = self.process.wait_exit(end);
            }
        }
    }
}

impl Proxy {
    /// Starts it with `config` and waits until it serves.
    ///
    /// # Panics
    /// When it does not say so in time; the message holds all it said.
    #[must_use]
    pub fn start(config: &Value) -> Self {
        Self::start_in(config, None)
    }

    /// Starts it inside the network namespace `name`, if one is given.
    ///
    /// # Panics
    /// As [`Proxy::start`].
    #[must_use]
    pub fn start_in(config: &Value, namespace: Option<&str>) -> Self {
        let dir = TempDir::new();
        let recordings = Recordings::wanted();
        let recorded = recordings.map(|recordings| recordings.added_to(config));
        let config = recorded.as_ref().unwrap_or(config);
        let path = dir.write("config.json", config.to_string());
        let mut command = match namespace {
            None => command(),
            Some(name) => {
                let mut ip = clean(Command::new("ip"));
                ip.args(["netns", "exec", name]).arg(binary());
                ip
            }
        };
        command
            .arg("run")
            .arg("-c")
            .arg(path)
            .current_dir(dir.path());
        let mut process = Process::spawn("sansbox", &mut command);
        process.wait_for_line(STARTED, START_TIMEOUT);
        let port = config["inbounds"][0]["listen_port"].as_u64().unwrap_or(0);
        Self {
            process,
            port: u16::try_from(port).expect("a port fits 16 bits"),
            is_recorded: recordings.is_some(),
            dir,
        }
    }

    /// One inbound of `kind` on 127.0.0.1 with these `users`, and a direct way out.
    #[must_use]
    pub fn inbound(kind: &str, users: &[(&str, &str)]) -> Self {
        Self::start(&config(inbound(kind, users), json!([direct()])))
    }

    /// A mixed inbound without users whose only way out is `outbound`.
    #[must_use]
    pub fn through(outbound: Value) -> Self {
        Self::start(&config(inbound("mixed", &[]), json!([outbound])))
    }

    /// Port of the first inbound.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Address of the first inbound on IPv4 loopback.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The process behind it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The folder that it works in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// All that was logged until now.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends a signal, waits for the end, and returns the status and the whole log.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn stop(mut self, signal: Signal) -> (ExitStatus, String) {
        self.process.signal(signal);
        let status = self.process.wait_exit(STOP_TIMEOUT);
        (status, self.process.log())
    }
}

/// A whole configuration: one inbound, the outbounds, log level debug.
#[must_use]
pub fn config(inbound: Value, outbounds: Value) -> Value {
    json!({
        "log": { "level": "debug" },
        "inbounds": [inbound],
        "outbounds": outbounds,
    })
}

/// An inbound tagged `in` on a free port of 127.0.0.1.
#[must_use]
pub fn inbound(kind: &str, users: &[(&str, &str)]) -> Value {
    let mut inbound = json!({
        "type": kind,
        "tag": "in",
        "listen": "127.0.0.1",
        "listen_port": free_port(),
    });
    if !users.is_empty() {
        inbound["users"] = users
            .iter()
            .map(|(name, password)| json!({ "username": name, "password": password }))
            .collect();
    }
    inbound
}

/// A direct outbound tagged `direct`.
#[must_use]
pub fn direct() -> Value {
    json!({ "type": "direct", "tag": "direct" })
}

/// An outbound tagged `up` of type `kind` to a server on 127.0.0.1, with a user if one is given.
#[must_use]
pub fn upstream(kind: &str, port: u16, user: Option<(&str, &str)>) -> Value {
    let mut outbound = json!({
        "type": kind,
        "tag": "up",
        "server": "127.0.0.1",
        "server_port": port,
    });
    if let Some((name, password)) = user {
        outbound["username"] = name.into();
        outbound["password"] = password.into();
    }
    outbound
}
