//! Connections on ways that reorder.
use crate::{
    World,
    fault::{Crash, Fault, HostFault},
    net::link::{Jitter, Link, Settings},
    peers::{Script, ScriptHost, Step},
    tcp::{Path, Segments, Tier},
};
use core::{net::SocketAddr, time::Duration};

const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Payload each way.
const LEN: u64 = 10_000;

#[test]
fn a_dial_that_cannot_be_sent_fails_at_once() {
    let mut world = World::new(1);
    world.tier(Tier::Packet);
    let nowhere: SocketAddr = "10.0.0.2:0".parse().unwrap();
    let client = ScriptHost::new().dial(nowhere, Script::new().send("hello"));
    world.host("client", &["10.0.0.1".parse().unwrap()], client);
    world.host("server", &[nowhere.ip()], ScriptHost::new());
    let said = world.run(LIMIT).unwrap_err();
    assert!(said.detail.contains("host unreachable"), "{said}");
    assert!(world.now().as_nanos() < 1_000_000_000, "{said}");
}

#[test]
fn a_handshake_that_outlives_its_listener_ends_in_a_reset() {
    let latency = Duration::from_millis(50);
    let mut world = World::new(1);
    world.tier(Tier::Packet);
    world.default_path(Path {
        latency,
        ..Path::default()
    });
    let server: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let client = ScriptHost::new().dial(server, Script::new().then(Step::ExpectReset));
    world.host("client", &["10.0.0.1".parse().unwrap()], client);
    let listener = ScriptHost::new().serve(server, |_| Script::new());
    let host = world.host("server", &[server.ip()], listener);
    // Behind the request, which comes after 50 ms, and before what completes the handshake.
    let fault = HostFault::Crash(Crash::Process);
    world.at(5 * latency / 2, Fault::Host { host, fault });
    world.run(LIMIT).unwrap();
}

/// How long two hosts take that talk at once, on small windows, one of them behind a link.
fn took(seed: u64, settings: Settings) -> Duration {
    let mut world = World::new(seed);
    world.tier(Tier::Packet);
    world.default_path(Path {
        window: 512,
        send_buffer: 300,
        segments: Segments::UpTo(20),
        ..Path::default()
    });
    let server: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let talk = |out: &str, back: &str| {
        let script = Script::new().exchange(out, back, LEN);
        script.fin(out).expect_fin(back)
    };
    let home = world.site("home", vec![Box::new(Link::new(settings))]);
    let client = ScriptHost::new().dial(server, talk("up", "down"));
    world.host_in(home, "client", &["10.0.0.1".parse().unwrap()], client);
    let answer = talk("down", "up");
    let host = ScriptHost::new().serve(server, move |_| answer.clone());
    world.host("server", &[server.ip()], host);
    world.run(LIMIT).unwrap();
    Duration::from_nanos(world.now().as_nanos())
}

#[test]
fn packets_that_overtake_each_other_cost_no_timeouts() {
    for seed in 0..4 {
        let settings = Settings {
            jitter: Jitter::Uniform(Duration::from_millis(100)),
            ..Settings::default()
        };
        let time = took(seed, settings);
        // Some dozen windows of half a thousand bytes, each in a tenth of a second.
        assert!(time < Duration::from_secs(5), "seed {seed}: {time:?}");
    }
}
