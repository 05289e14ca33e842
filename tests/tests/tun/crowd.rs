//! More connections that are open at the same time than a process may have files.
//!
//! In a tunnel a connection costs no file, so one TUN device has them all; tunnels, their servers,
//! clients and targets are several:
//!
//! ```text
//! crowd.py ─┐               ┌─ paniq ─ sansbox ─ many.py
//! crowd.py ─┤ tun0 sansbox ─┼─ paniq ─ sansbox ─ many.py
//! crowd.py ─┤               ├─ paniq ─ sansbox ─ many.py
//! crowd.py ─┘               └─ paniq ─ sansbox ─ many.py
//! ```
use crate::{
    many::{raise_limit, serve},
    net::{NETWORKS, Net, TARGET4},
    program::{self, Options, has_own_options},
    tools::spawn,
};
use sansbox_tests::{
    Value, json,
    namespace::Namespace,
    paniq::profiles,
    peers::need,
    process::{Memory, Process, Signal},
    proxy::{Proxy, direct},
    temp::TempDir,
};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const CALLER: &str = include_str!("crowd.py");
/// Tunnels, each with a server, a target and a client of its own.
const LANES: u16 = 4;
/// Where the servers of tunnels are, over the wire.
const SERVER: &str = "192.0.2.2";
/// Files that a program has open for other things than connections: some for each CPU, and tunnels.
const OTHER_FILES: usize = 200;
/// How long a step of all connections may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A tunnel's way from its server on.
struct Lane {
    target: Process,
    /// Where the target is.
    port: u16,
    server: Proxy,
    /// The tunnel's client.
    outbound: Value,
}

impl Lane {
    /// The lane `index` for so many connections.
    fn new(place: &Namespace, python: &Path, dir: &TempDir, index: u16, number: usize) -> Self {
        let (target, port) = serve(place, python, dir, TARGET4, number);
        let listen_port = 9000 + index;
        let [at_server, at_client] = profiles(&format!("{SERVER}:{listen_port}")).map(|profile| {
            let mut profile = profile;
            // Any worker's tunnel might get them all.
            profile["quic"]["max_streams"] = number.into();
            profile
        });
        let server = json!({
            "log": { "level": "info" },
            "inbounds": [{
                "type": "paniq",
                "tag": "in",
                "listen": SERVER,
                "listen_port": listen_port,
                "profile": at_server,
                "allow_private": true,
            }],
            "outbounds": [direct()],
        });
        let tag = format!("lane-{index}");
        Self {
            target,
            port,
            server: Proxy::start_in(&server, Some(place.name())),
            outbound: json!({ "type": "paniq", "tag": tag, "profile": at_client }),
        }
    }
}

/// The program with the device, whose rules send each target's connections through its tunnel.
fn start(net: &Net, lanes: &[Lane]) -> Proxy {
    let rule = |lane: &Lane| json!({ "port": lane.port, "outbound": lane.outbound["tag"] });
    let mut config = program::config(&Options {
        rules: lanes.iter().map(rule).collect(),
        ..Options::default()
    });
    // What it keeps is no connection's.
    config["sansbox"] = json!({ "recorder": { "mode": "off" } });
    config["outbounds"] = lanes.iter().map(|lane| lane.outbound.clone()).collect();
    let device = program::start(net, &config);
    net.route(&NETWORKS);
    device
}

/// The client of each lane.
fn call(net: &Net, python: &Path, dir: &TempDir, lanes: &[Lane], number: usize) -> Vec<Process> {
    let script = dir.write("crowd.py", CALLER);
    let caller = |(index, lane): (usize, &Lane)| {
        let (port, first) = (lane.port, index * number);
        let arguments = format!("{} {TARGET4} {port} {number} {first}", script.display());
        spawn(&net.client, python, &arguments)
    };
    lanes.iter().enumerate().map(caller).collect()
}

/// What a program takes, and how much that is for each of its connections.
fn report(what: &str, process: &Process, before: u64, connections: usize) {
    let (now, peak) = (process.memory(Memory::Now), process.memory(Memory::Peak));
    let each = peak.saturating_sub(before) / connections as u64;
    println!(
        "{what}: {} files, {} KiB resident, {} KiB at most: {each} bytes for each connection",
        process.open_files(),
        now / 1024,
        peak / 1024,
    );
}

fn wait_for_few_files(process: &Process) {
    let deadline = Instant::now() + PATIENCE;
    while process.open_files() > OTHER_FILES {
        let files = process.open_files();
        assert!(Instant::now() < deadline, "{files} files are left open");
        thread::sleep(Duration::from_millis(100));
    }
}

/// All machines and programs but the clients.
struct Crowd {
    python: PathBuf,
    net: Net,
    dir: TempDir,
    lanes: Vec<Lane>,
    device: Proxy,
    /// Connections of each lane.
    number: usize,
}

impl Crowd {
    /// For so many connections in each lane, or none after saying why the test is skipped.
    fn new(number: usize) -> Option<Self> {
        let (python, net) = (need("python3")?, Net::new()?);
        let (limit, dir) = (raise_limit(), TempDir::new());
        let files = (number + OTHER_FILES) as u64;
        assert!(files < limit, "{files} open files, where {limit} may be");
        let lane = |index| Lane::new(&net.server, &python, &dir, index, number);
        let lanes: Vec<_> = (0..LANES).map(lane).collect();
        let device = start(&net, &lanes);
        Some(Self {
            python,
            net,
            dir,
            lanes,
            device,
            number,
        })
    }

    /// Opens all connections before the first says anything, then uses and ends all.
    fn wave(&mut self, nth: usize, before: u64) {
        let (number, device) = (self.number, self.device.process());
        let total = number * self.lanes.len();
        let begin = Instant::now();
        let mut callers = call(&self.net, &self.python, &self.dir, &self.lanes, number);
        for (caller, lane) in callers.iter_mut().zip(&mut self.lanes) {
            caller.wait_for_line(&format!("open {number}"), PATIENCE);
            let accepted = format!("accepted {number} in wave {nth}");
            lane.target.wait_for_line(&accepted, PATIENCE);
        }
        println!("{total} connections are open after {:.1?}", begin.elapsed());
        report("all are open", device, before, total);
        assert!(device.open_files() < OTHER_FILES, "a connection has a file");
        for lane in &mut self.lanes {
            let server = lane.server.process();
            assert!(server.open_files() > number, "they are open at once");
            report("a server", server, 0, number);
        }

        let begin = Instant::now();
        callers
            .iter()
            .for_each(|caller| caller.signal(Signal::Usr2));
        for (caller, lane) in callers.iter_mut().zip(&mut self.lanes) {
            caller.wait_for_line(&format!("returned {number}"), PATIENCE);
            caller.wait_for_line(&format!("ended {number}"), PATIENCE);
            assert!(caller.wait_exit(PATIENCE).success(), "{}", caller.log());
            wait_for_few_files(lane.server.process());
        }
        println!(
            "{total} connections were used after {:.1?}",
            begin.elapsed()
        );
        wait_for_few_files(device);
        report("all have ended", device, before, total);
    }
}

/// Two waves of connections, of which the second finds the place that the first had.
fn hold(number: usize) {
    if !has_own_options() {
        return;
    }
    let Some(mut crowd) = Crowd::new(number) else {
        return;
    };
    let before = crowd.device.process().memory(Memory::Now);
    crowd.wave(1, before);
    let first = crowd.device.process().memory(Memory::Peak) - before;
    crowd.wave(2, before);
    let both = crowd.device.process().memory(Memory::Peak) - before;
    // Half as much for each connection of the first wave would be too much.
    assert!(both < first + first / 2, "{first} bytes became {both}");
}

#[test]
fn connections_in_tunnels_are_open_at_once() {
    hold(500);
}

#[test]
#[ignore = "takes a minute, and both CPUs of a small machine"]
fn fifty_thousand_connections_in_tunnels_are_open_at_once() {
    hold(12_500);
}
