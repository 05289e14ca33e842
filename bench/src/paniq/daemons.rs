//! The whole product: a client's daemon and a server's, with a profile as `sansbox paniq
//! create-profile` makes it, under the loads that proxies get.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{figure_names, go, is_rate, quoted};
use crate::args::Paniq;
use crate::guard::{self, Guarded};
use crate::load::{self, Target, bulk};
use crate::paniq::end::Load;
use crate::paniq::report::Row;
use crate::process;
use crate::proxy::free_port;
use crate::socks::Way;
use crate::subject::{Folders, sansbox};

/// Tunnels of the memory figure, each with an inbound and an outbound of the client's own; below
/// what a server allows one host.
const TUNNELS: u16 = 200;
/// What is to be reached, in bytes of resident memory for each.
const TUNNEL_KIB: f64 = 12.0;
/// Datagrams that a server's limit is to let a tunnel's host send at once: more than a preamble has.
const PREAMBLE_DATAGRAMS: u16 = 16;
/// The daemons, by the names of their files.
const NAMES: [&str; 2] = ["paniq-server", "paniq-client"];
const READY_LIMIT: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(2);
const ASK_LIMIT: Duration = Duration::from_secs(20);
const BYTES_PER_KIB: f64 = 1024.0;

/// Two daemons and the tunnels between them.
struct Pair {
    client: Guarded,
    server: Guarded,
    /// The client's SOCKS listeners.
    socks: Vec<SocketAddr>,
    /// Where to look when something fails.
    logs: String,
}

impl Pair {
    /// Starts both, with so many tunnels that are not dialled yet.
    fn start(program: &Path, scratch: &Path, tunnels: u16) -> Result<Self> {
        let port = free_port()?;
        let [server_profile, client_profile] = profiles(program, scratch, port, tunnels)?;
        let [server_name, client_name] = NAMES;
        let inbound = json!({
            "type": "paniq", "listen": "127.0.0.1", "listen_port": port,
            "profile_path": server_profile, "allow_private": true,
        });
        let server = start(
            program,
            scratch,
            server_name,
            &quiet(&json!([inbound]), &json!([]), &json!([])),
        )?;
        let mut socks = Vec::new();
        let (mut inbounds, mut outbounds, mut rules) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..tunnels {
            let listen = free_port()?;
            socks.push(SocketAddr::from((Ipv4Addr::LOCALHOST, listen)));
            let (inbound, outbound) = (format!("in{n}"), format!("out{n}"));
            inbounds.push(json!({
                "type": "socks", "tag": inbound, "listen": "127.0.0.1", "listen_port": listen,
            }));
            outbounds.push(json!({
                "type": "paniq", "tag": outbound, "profile_path": client_profile,
            }));
            rules.push(json!({"inbound": inbound, "action": "route", "outbound": outbound}));
        }
        let config = quiet(&json!(inbounds), &json!(outbounds), &json!(rules));
        let client = start(program, scratch, client_name, &config)?;
        let pair = Self {
            client,
            server,
            socks,
            logs: NAMES.map(|name| log_path(scratch, name)).join(" and "),
        };
        pair.wait()?;
        Ok(pair)
    }

    /// The Go programs of a folder, with one tunnel and a profile that `program` makes.
    fn start_go(folder: &Path, program: &Path, scratch: &Path) -> Result<Self> {
        let (port, listen) = (free_port()?, free_port()?);
        let [server_profile, client_profile] = profiles(program, scratch, port, 1)?;
        let [client, server] = go::PROGRAMS;
        let pair = Self {
            server: go::start(folder, server, scratch, (&server_profile, port))?,
            client: go::start(folder, client, scratch, (&client_profile, listen))?,
            socks: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, listen))],
            logs: go::PROGRAMS
                .map(|name| log_path(scratch, name))
                .join(" and "),
        };
        pair.wait()?;
        Ok(pair)
    }

    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        for address in &self.socks {
            while TcpStream::connect(address).is_err() {
                if Instant::now() >= deadline {
                    bail!(
                        "the client's daemon did not listen on {address} within {READY_LIMIT:?}: \
                         see {}",
                        self.logs
                    );
                }
                thread::sleep(READY_POLL);
            }
        }
        Ok(())
    }

    fn way(&self, nth: usize) -> Result<Way> {
        Ok(Way {
            proxy: *self.socks.get(nth).context("no such tunnel")?,
            credentials: None,
            patience: load::PATIENCE,
        })
    }

    /// What a load costs the client, and then the server.
    fn measure(&self, load: Load, length: Duration) -> Result<[f64; 2]> {
        let one = |pid| {
            let way = self.way(0)?;
            measure(load, Target { way, pid }, length)
                .with_context(|| format!("daemons, {load:?}: see {}", self.logs))
        };
        Ok([one(self.client.pid())?, one(self.server.pid())?])
    }
}

fn quiet(inbounds: &Value, outbounds: &Value, rules: &Value) -> Value {
    json!({
        "log": {"level": "warn"},
        "inbounds": inbounds,
        "outbounds": outbounds,
        "route": {"rules": rules},
    })
}

/// A server's profile and a client's. Where there are many tunnels, the server's lets them all
/// begin at once: its own limit is for the few that a host has.
fn profiles(program: &Path, scratch: &Path, port: u16, tunnels: u16) -> Result<[String; 2]> {
    let files = NAMES.map(|name| scratch.join(format!("{name}-profile.json")));
    let [server, client] = &files;
    for file in &files {
        // It does not overwrite keys.
        let _absent = fs::remove_file(file);
    }
    let said = scratch.join("paniq-create-profile.log");
    let mut command = Command::new(program);
    command.args(["paniq", "create-profile", "--proxy-addr"]);
    command.arg(format!("127.0.0.1:{port}"));
    command.arg("--out").arg(server);
    command.arg("--client-out").arg(client);
    // It names the files that it writes.
    command.stderr(File::create(&said)?);
    guard::output(&mut command, ASK_LIMIT)
        .with_context(|| format!("make profiles: see {}", said.display()))?;
    if tunnels > 1 {
        raise_limit(server, u32::from(tunnels) * u32::from(PREAMBLE_DATAGRAMS))
            .with_context(|| format!("raise the limit of {}", server.display()))?;
    }
    Ok(files.map(|file| file.display().to_string()))
}

/// Lets a host send so many datagrams of preambles at once.
fn raise_limit(profile: &Path, burst: u32) -> Result<()> {
    let mut edited: Value = serde_json::from_slice(&fs::read(profile)?)?;
    let limit = edited.pointer_mut("/obfuscation/rate_limit_burst");
    *limit.context("no obfuscation.rate_limit_burst")? = burst.into();
    fs::write(profile, serde_json::to_vec(&edited)?)?;
    Ok(())
}

fn log_path(scratch: &Path, name: &str) -> String {
    let path = scratch.join(format!("{name}.log"));
    path.display().to_string()
}

fn start(program: &Path, scratch: &Path, name: &str, config: &Value) -> Result<Guarded> {
    let path = scratch.join(format!("{name}.json"));
    fs::write(&path, serde_json::to_vec(config)?)?;
    let mut command = Command::new(program);
    command.args(["run", "-c"]).arg(&path);
    spawn(command, scratch, name)
}

/// Starts a daemon whose log has this name.
pub(super) fn spawn(mut command: Command, scratch: &Path, name: &str) -> Result<Guarded> {
    let log = File::create(log_path(scratch, name))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Guarded::spawn(&mut command)
        .with_context(|| format!("start {}", Path::new(command.get_program()).display()))
}

/// The figures of two daemons.
pub(super) fn rows(args: &Paniq) -> Result<Vec<Row>> {
    let folders = Folders::find()?;
    let subjects = sansbox(&folders, args.sansbox.as_deref())?;
    let program = &subjects.first().context("no sansbox")?.program;
    let (scratch, rounds) = (&folders.scratch, args.rounds);
    let mut rows = match args.idle {
        true => Vec::new(),
        false => loads(program, scratch, args)?,
    };
    rows.push(memory(program, scratch, rounds)?);
    Ok(rows)
}

fn loads(program: &Path, scratch: &Path, args: &Paniq) -> Result<Vec<Row>> {
    let length = Duration::from_secs(args.seconds);
    let mut rows = Vec::new();
    for load in Load::ALL {
        let (name, unit) = figure_names(load);
        let mut sides = ["client", "server"]
            .map(|side| Row::new(format!("daemons, {side}: {name}"), unit, is_rate(load)));
        for _ in 0..args.rounds {
            let pair = Pair::start(program, scratch, 1)?;
            for (row, value) in sides.iter_mut().zip(pair.measure(load, length)?) {
                row.own.push(value);
            }
            drop(pair);
            if let Some(folder) = &args.go {
                let pair = Pair::start_go(folder, program, scratch)?;
                for (row, value) in sides.iter_mut().zip(pair.measure(load, length)?) {
                    row.live.push(value);
                }
            }
        }
        rows.extend(
            sides
                .into_iter()
                .zip(quoted(load))
                .map(|(row, (go, reach))| row.with(go, reach)),
        );
    }
    Ok(rows)
}

fn measure(load: Load, target: Target, length: Duration) -> Result<f64> {
    Ok(match load {
        Load::Up => bulk::run(target, bulk::Direction::Up, length)?.gbit_per_core_second,
        Load::Down => bulk::run(target, bulk::Direction::Down, length)?.gbit_per_core_second,
        Load::Trip => load::trip::run(target, length)?.cpu_us,
        Load::Conn => load::conn::run(target, length)?.cpu_us,
    })
}

/// What an idle tunnel costs the server: what it grows by when all are up and nothing moves.
#[expect(
    clippy::cast_precision_loss,
    reason = "memory of one process is below 2^52 bytes"
)]
fn memory(program: &Path, scratch: &Path, rounds: u32) -> Result<Row> {
    let mut row = Row::new("daemons, server: idle tunnel".into(), "KiB", false);
    for _ in 0..rounds {
        let pair = Pair::start(program, scratch, TUNNELS)?;
        let (listener, target) = load::listen()?;
        let pid = pair.server.pid();
        // The first tunnel brings what all share.
        use_once(&pair, 0, target)?;
        thread::sleep(SETTLE);
        let before = process::resident(pid)?;
        for nth in 1..usize::from(TUNNELS) {
            use_once(&pair, nth, target)?;
        }
        drop(listener);
        thread::sleep(SETTLE);
        let grown = process::resident(pid)?.saturating_sub(before);
        row.own
            .push(grown as f64 / BYTES_PER_KIB / f64::from(TUNNELS - 1));
    }
    Ok(row.with(None, Some(TUNNEL_KIB)))
}

/// One connection through a tunnel, which is up then and idle.
fn use_once(pair: &Pair, nth: usize, target: std::net::SocketAddrV4) -> Result<()> {
    let stream = pair.way(nth)?.connect(target);
    stream
        .with_context(|| format!("connect through tunnel {nth}: see {}", pair.logs))
        .map(drop)
}
