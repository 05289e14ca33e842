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
    path::Path,
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
const PATIENCE: Duration = Duration::from_secs(600);

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

/// What the program with the device takes, beyond what it took `before`.
fn report(what: &str, device: &Process, before: u64, total: usize) {
    let (now, peak) = (device.memory(Memory::Now), device.memory(Memory::Peak));
    let each = peak.saturating_sub(before) / total as u64;
    println!(
        "{what}: {} files, {} KiB resident, {} KiB at most: {each} bytes for each connection",
        device.open_files(),
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

/// Opens `number` connections in each lane before the first says anything, then uses and ends all.
fn hold(number: usize) {
    if !has_own_options() {
        return;
    }
    let (Some(python), Some(net)) = (need("python3"), Net::new()) else {
        return;
    };
    let (limit, dir) = (raise_limit(), TempDir::new());
    let files = (number + OTHER_FILES) as u64;
    assert!(files < limit, "{files} open files, where {limit} may be");
    let lane = |index| Lane::new(&net.server, &python, &dir, index, number);
    let mut lanes: Vec<_> = (0..LANES).map(lane).collect();
    let mut device = start(&net, &lanes);
    let device = device.process();
    let (before, total) = (device.memory(Memory::Now), number * usize::from(LANES));
    report("before the first connection", device, before, total);

    let begin = Instant::now();
    let mut callers = call(&net, &python, &dir, &lanes, number);
    for (caller, lane) in callers.iter_mut().zip(&mut lanes) {
        caller.wait_for_line(&format!("open {number}"), PATIENCE);
        lane.target
            .wait_for_line(&format!("accepted {number}"), PATIENCE);
    }
    println!("{total} connections are open after {:.1?}", begin.elapsed());
    report("all are open", device, before, total);
    assert!(device.open_files() < OTHER_FILES, "a connection has a file");
    for lane in &mut lanes {
        let server = lane.server.process();
        assert!(server.open_files() > number, "connections are open at once");
        report("a server", server, 0, number);
    }

    let begin = Instant::now();
    callers
        .iter()
        .for_each(|caller| caller.signal(Signal::Usr2));
    for (caller, lane) in callers.iter_mut().zip(&mut lanes) {
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

#[test]
fn connections_in_tunnels_are_open_at_once() {
    hold(500);
}

#[test]
#[ignore = "takes minutes, and a gigabyte of memory"]
fn fifty_thousand_connections_in_tunnels_are_open_at_once() {
    hold(12_500);
}
