//! A client, a SOCKS proxy of the engine and an echo server: one world for each seed.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, anyhow};
use sansbox_engine::Plan;
use sansbox_simulator::World;
use sansbox_simulator::drive::{MachineHost, Rules, plan};
use sansbox_simulator::peers::{Script, ScriptHost};
use sansbox_simulator::tcp::{Path, Segments};

const CONFIG: &str = r#"{
    "inbounds": [{"type": "socks", "listen": "10.0.0.2", "listen_port": 1080}],
    "outbounds": [{"type": "direct"}]
}"#;
/// CONNECT to 10.0.0.3, port 80.
const REQUEST: [u8; 10] = [5, 1, 0, 1, 10, 0, 0, 3, 0, 80];

/// The plan is built once: seeds share it.
fn shared_plan() -> Result<&'static Arc<Plan>> {
    static PLAN: OnceLock<Result<Arc<Plan>, String>> = OnceLock::new();
    let plan = PLAN.get_or_init(|| plan(CONFIG));
    plan.as_ref().map_err(|why| anyhow!("{why}"))
}

fn world(seed: u64, len: u64) -> Result<World> {
    let mut world = World::new(seed);
    world.default_path(Path {
        segments: Segments::UpTo(16 << 10),
        ..Path::default()
    });
    let ip = |last| IpAddr::from([10, 0, 0, last]);
    let proxy = SocketAddr::new(ip(2), 1080);
    let target = SocketAddr::new(ip(3), 80);
    let client = Script::new().send([5, 1, 0]).expect([5, 0]).send(REQUEST);
    let client = client
        .expect([5, 0, 0, 1])
        .then(sansbox_simulator::peers::Step::Skip(6));
    let client = client.exchange("up", "down", len).fin("up");
    let client = client.expect_fin("down");
    let server = move |_| {
        let both = Script::new().exchange("down", "up", len);
        both.expect_fin("up").fin("down")
    };
    world.host("client", &[ip(1)], ScriptHost::new().dial(proxy, client));
    let machines = MachineHost::of_plan(Rules::default(), shared_plan()?);
    world.host("proxy", &[ip(2)], machines);
    world.host("origin", &[ip(3)], ScriptHost::new().serve(target, server));
    Ok(world)
}

/// Runs `count` seeds, each of which relays `len` octets both ways; returns how many.
pub(crate) fn sessions(round: u64, count: u64, len: u64) -> Result<f64> {
    for seed in 0..count {
        let mut world = world(round * count + seed, len)?;
        let run = world.run(Duration::from_secs(3600));
        run.map_err(|broken| anyhow!("seed {seed}: {broken}"))?;
    }
    Ok(count as f64)
}
