//! Each thing that the network can do to a connection changes an outcome.
use super::{Path, Reach, Segments};
use crate::{
    World,
    check::{Invariant, Violation},
    peers::{Script, ScriptHost, Step},
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Refusal;

const LIMIT: Duration = Duration::from_secs(3600);

fn server_addr() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

fn world(seed: u64, path: Path, client: Script, server: Script) -> World {
    let mut world = World::new(seed);
    world.default_path(path);
    let host = ScriptHost::new().dial(server_addr(), client);
    world.host("client", &["10.0.0.1".parse().unwrap()], host);
    let host = ScriptHost::new().serve(server_addr(), move |_| server.clone());
    world.host("server", &["10.0.0.2".parse().unwrap()], host);
    world
}

/// Runs and gives the virtual time at the end.
fn took(path: Path, client: Script, server: Script) -> Duration {
    let mut world = world(1, path, client, server);
    world.run(LIMIT).unwrap();
    Duration::from_nanos(world.now().as_nanos())
}

fn upload(len: u64) -> (Script, Script) {
    let client = Script::new().upload("up", len).fin("up").expect_fin("down");
    let server = Script::new()
        .download("up", len)
        .expect_fin("up")
        .fin("down");
    (client, server)
}

#[test]
fn latency_and_rate_take_their_time() {
    let (client, server) = upload(20_000);
    let slow = Path {
        rate: Some(10_000),
        ..Path::default()
    };
    let time = took(slow, client.clone(), server.clone());
    assert!(time > Duration::from_secs(2), "{time:?}");
    let far = Path {
        latency: Duration::from_millis(250),
        ..Path::default()
    };
    let time = took(far, client.clone(), server.clone());
    // Connecting, bytes with FIN, FIN: four times one way.
    assert!(time > Duration::from_secs(1), "{time:?}");
    assert!(took(Path::default(), client, server) < Duration::from_millis(200));
}

#[test]
fn windows_and_buffers_hold_a_sender_back() {
    let path = Path {
        window: 3000,
        send_buffer: 2000,
        ..Path::default()
    };
    let client = Script::new().upload("up", 100_000).tolerant();
    let server = Script::new()
        .sleep(Duration::from_secs(10))
        .then(Step::Reset);
    let mut world = world(1, path, client, server);
    world.run(LIMIT).unwrap();
    assert_eq!(world.flows().sent_len("up"), 5000);
}

#[test]
fn segments_are_cut_as_the_path_says() {
    let events = |segments| {
        let (client, server) = upload(5000);
        let path = Path {
            segments,
            ..Path::default()
        };
        let mut world = world(1, path, client, server);
        world.run(LIMIT).unwrap();
        world.events()
    };
    assert!(events(Segments::UpTo(1)) > 5000);
    assert!(events(Segments::UpTo(1460)) < 500);
    // Any: different connections draw different limits.
    let of_seed = |seed| {
        let (client, server) = upload(5000);
        let mut world = world(seed, Path::default(), client, server);
        world.run(LIMIT).unwrap();
        world.events() > 5000
    };
    assert!((0..20).any(of_seed) && !(0..20).all(of_seed));
}

#[test]
fn a_reset_may_overtake_bytes_in_flight() {
    let delivered = |seed| {
        let client = Script::new().upload("up", 9000).then(Step::Reset);
        let server = Script::new()
            .download("up", 9000)
            .then(Step::ExpectReset)
            .tolerant();
        let mut world = world(seed, Path::default(), client, server);
        world.run(LIMIT).unwrap();
        world.flows().delivered_len("up")
    };
    assert!((0..40).any(|seed| delivered(seed) < 9000));
    assert!((0..40).any(|seed| delivered(seed) == 9000));
}

#[test]
fn closing_with_unread_bytes_resets() {
    let client = Script::new().send("not for me").then(Step::ExpectReset);
    let server = Script::new().sleep(Duration::from_secs(1));
    world(1, Path::default(), client, server)
        .run(LIMIT)
        .unwrap();
}

#[test]
fn bytes_for_a_closed_socket_are_answered_with_a_reset() {
    let wait = Script::new().sleep(Duration::from_secs(1));
    let client = wait.send("too late").then(Step::ExpectReset);
    // The FIN of the close comes first, the reset when bytes arrive.
    let client = Script::new().then(Step::ExpectFin(None)).and(client);
    world(1, Path::default(), client, Script::new())
        .run(LIMIT)
        .unwrap();
}

#[test]
fn a_vanished_peer_is_noticed_by_keep_alive_alone() {
    let path = Path {
        keep_alive: Duration::from_secs(700),
        ..Path::default()
    };
    let client = Script::new().then(Step::ExpectReset);
    let server = Script::new().then(Step::Vanish);
    let time = took(path, client, server);
    assert!(
        time > Duration::from_secs(700) && time < Duration::from_secs(701),
        "{time:?}"
    );
}

#[test]
fn what_was_sent_before_vanishing_still_arrives() {
    let client = Script::new().send("last words").then(Step::Vanish);
    let server = Script::new().expect("last words").then(Step::ExpectReset);
    world(1, Path::default(), client, server)
        .run(LIMIT)
        .unwrap();
}

fn dial(reach: Reach) -> (Duration, Result<(), Violation>) {
    let hello = Script::new().send("hello").expect("hello");
    let mut world = world(1, Path::default(), hello, Script::new().then(Step::Echo));
    world.reach(server_addr(), reach);
    let outcome = world.run(LIMIT);
    (Duration::from_nanos(world.now().as_nanos()), outcome)
}

#[test]
fn dials_end_as_the_address_says() {
    let second = Duration::from_secs(1);
    let (time, outcome) = dial(Reach::Slow(3 * second));
    assert!(outcome.is_ok() && time > 3 * second, "{outcome:?} {time:?}");
    let (time, outcome) = dial(Reach::BlackHole);
    let said = outcome.unwrap_err();
    assert!(
        said.detail.contains("timed out") && time > 100 * second,
        "{said}"
    );
    for (reach, text) in [
        (Reach::Refused, "connection refused"),
        (
            Reach::Unreachable(Refusal::HostUnreachable),
            "host unreachable",
        ),
    ] {
        let (time, outcome) = dial(reach);
        let said = outcome.unwrap_err();
        assert_eq!(said.invariant, Invariant::ScriptHolds);
        assert!(said.detail.contains(text) && time < second, "{said}");
    }
}

#[test]
fn a_script_that_hears_something_else_fails() {
    let client = Script::new().expect("hello");
    let server = Script::new().send("help").then(Step::ExpectEnd);
    let said = world(1, Path::default(), client, server)
        .run(LIMIT)
        .unwrap_err();
    assert_eq!(said.invariant, Invariant::ScriptHolds);
    assert!(
        said.detail.contains("hello") && said.detail.contains("help"),
        "{said}"
    );
}
