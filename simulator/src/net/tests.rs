//! Each thing that the network can do to datagrams and lookups changes an outcome.
use super::UdpPath;
use crate::{
    World,
    check::Violation,
    peers::{Script, ScriptHost, Step},
};
use core::{net::SocketAddr, time::Duration};

fn echo_addr() -> SocketAddr {
    "10.0.0.2:7".parse().unwrap()
}

fn run(seed: u64, path: UdpPath, script: Script) -> Result<Duration, Violation> {
    let mut world = World::new(seed);
    world.default_udp_path(path);
    let host = ScriptHost::new().offline(Duration::ZERO, script);
    world.host("client", &["10.0.0.1".parse().unwrap()], host);
    let host = ScriptHost::new().echo_datagrams(echo_addr());
    world.host("echo", &["10.0.0.2".parse().unwrap()], host);
    world.run(Duration::from_secs(60))?;
    Ok(Duration::from_nanos(world.now().as_nanos()))
}

fn send(data: &[u8]) -> Step {
    Step::ToAddr(echo_addr(), data.to_vec())
}

fn hear(data: &[u8]) -> Step {
    Step::ExpectDatagram(data.to_vec())
}

fn silence() -> Step {
    Step::ExpectNoDatagram(Duration::from_secs(1))
}

#[test]
fn a_good_path_delivers_once_and_in_time() {
    let script = Script::of([Step::Bind, send(b"a"), hear(b"a"), silence()]);
    let time = run(1, UdpPath::default(), script.clone()).unwrap();
    assert!(time < Duration::from_millis(1100), "{time:?}");
    let latency = Duration::from_millis(400);
    let time = run(
        1,
        UdpPath {
            latency,
            ..UdpPath::default()
        },
        script,
    )
    .unwrap();
    assert!(time > Duration::from_millis(1800), "{time:?}");
}

#[test]
fn datagrams_are_lost() {
    let path = UdpPath {
        loss: 500,
        ..UdpPath::default()
    };
    let script = || Script::of([Step::Bind, send(b"a"), hear(b"a")]);
    let arrives = |seed| run(seed, path, script()).is_ok();
    assert!((0..40).any(arrives) && !(0..40).all(arrives));
}

#[test]
fn datagrams_are_doubled() {
    let path = UdpPath {
        duplication: 1000,
        ..UdpPath::default()
    };
    let four = [hear(b"a"), hear(b"a"), hear(b"a"), hear(b"a"), silence()];
    run(
        1,
        path,
        Script::of([Step::Bind, send(b"a")]).and(Script::of(four)),
    )
    .unwrap();
}

#[test]
fn datagrams_overtake_each_other() {
    let path = UdpPath {
        jitter: Duration::from_millis(50),
        ..UdpPath::default()
    };
    let script = || Script::of([Step::Bind, send(b"a"), send(b"b"), hear(b"a"), hear(b"b")]);
    let in_order = |seed| run(seed, path, script()).is_ok();
    assert!((0..40).any(in_order) && !(0..40).all(in_order));
}

#[test]
fn datagrams_beyond_the_limit_are_lost() {
    let path = UdpPath {
        payload_max: 3,
        ..UdpPath::default()
    };
    let script = Script::of([
        Step::Bind,
        send(b"four"),
        send(b"abc"),
        hear(b"abc"),
        silence(),
    ]);
    run(1, path, script).unwrap();
}
