//! What scenarios declare is watched: each rule, kept and broken.
use super::{
    MachineHost, Rules,
    toy::{self, Shared, Toy},
    toy_datagrams::{self, DatagramToy},
};
use crate::{
    World,
    check::{CANARY, Invariant, Violation},
    host::Command,
    peers::{Script, ScriptHost, Step},
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::rc::Rc;

const LIMIT: Duration = Duration::from_secs(4 * 3600);
const PROXY: &str = "10.0.0.2:1080";
const TARGET: &str = "10.0.0.3:80";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A client that sends the canary through a toy.
fn relay(quirk: toy::Quirk, declare: impl FnOnce(&mut World)) -> Result<(), Violation> {
    let mut world = World::new(3);
    declare(&mut world);
    let shared = Shared::default();
    let of_toys = shared.clone();
    let make = move |new| {
        let toy = Toy::new(quirk, addr(TARGET), new);
        Box::new(toy.sharing(&of_toys)) as _
    };
    let host = MachineHost::new(Rules::default()).tcp(addr(PROXY), Box::new(make));
    let host = host.shares(move || Rc::strong_count(&shared.0));
    let client = Script::new().send(CANARY).then(Step::Fin(None));
    let client = client.then(Step::ExpectEnd);
    let dialler = ScriptHost::new().dial(addr(PROXY), client);
    world.host("client", &[ip("10.0.0.1")], dialler);
    world.host("proxy", &[ip("10.0.0.2")], host);
    let origin = || Script::new().expect(CANARY).then(Step::Fin(None));
    let origin = ScriptHost::new().serve(addr(TARGET), move |_| origin());
    world.host("origin", &[ip("10.0.0.3")], origin);
    world.run(LIMIT)
}

fn broken(run: Result<(), Violation>) -> Option<Invariant> {
    run.err().map(|violation| violation.invariant)
}

#[test]
fn payload_in_plain_sight_on_an_encrypted_link_is_noticed() {
    let quirk = toy::Quirk::Pipes;
    assert_eq!(broken(relay(quirk, |_| {})), None);
    let upstream = |world: &mut World| world.encrypted(addr(TARGET));
    assert_eq!(broken(relay(quirk, upstream)), Some(Invariant::Canary));
    let downstream = |world: &mut World| world.encrypted(addr(PROXY));
    assert_eq!(broken(relay(quirk, downstream)), Some(Invariant::Canary));
    let elsewhere = |world: &mut World| world.encrypted(addr("10.0.0.3:443"));
    assert_eq!(broken(relay(quirk, elsewhere)), None);
}

#[test]
fn a_secret_in_a_text_is_noticed_and_not_repeated() {
    let secret = |world: &mut World| world.secret(toy::SECRET);
    assert_eq!(broken(relay(toy::Quirk::Pipes, secret)), None);
    let violation = relay(toy::Quirk::TellsName, secret).unwrap_err();
    assert_eq!(violation.invariant, Invariant::SecretsUnlogged);
    assert!(!violation.detail.contains("hunter2"), "{violation}");
}

#[test]
fn machines_that_stay_behind_are_noticed() {
    assert_eq!(broken(relay(toy::Quirk::None, |_| {})), None);
    let stays = relay(toy::Quirk::StaysBehind, |_| {});
    assert_eq!(broken(stays), Some(Invariant::BackToBaseline));
}

/// A client that sends datagrams through a toy that forwards them.
fn forward(quirk: toy_datagrams::Quirk, octets: usize) -> Result<(), Violation> {
    let mut world = World::new(3);
    let make = move |_| Box::new(DatagramToy::new(quirk, addr(TARGET))) as _;
    let host = MachineHost::new(Rules::default()).udp(addr(PROXY), Box::new(make));
    let ping = |n: u8| {
        let data = vec![n; 100];
        Script::of([
            Step::ToAddr(addr(PROXY), data.clone()),
            Step::ExpectDatagram(data),
        ])
    };
    let script = Script::of([Step::Bind]).and(ping(1)).and(ping(2));
    let client = ScriptHost::new().offline(Duration::ZERO, script);
    world.host("client", &[ip("10.0.0.1")], client);
    let proxy = world.host("proxy", &[ip("10.0.0.2")], host);
    let echo = ScriptHost::new().echo_datagrams(addr(TARGET));
    world.host("echo", &[ip("10.0.0.3")], echo);
    world.command(Duration::from_secs(60), proxy, Command::Stop);
    world.path_budget(proxy, octets);
    world.run(LIMIT)
}

#[test]
fn datagrams_that_nobody_sent_are_noticed() {
    use toy_datagrams::Quirk;
    assert_eq!(broken(forward(Quirk::None, 1500)), None);
    let doubled = forward(Quirk::Doubles, 1500);
    assert_eq!(broken(doubled), Some(Invariant::MatchesModel));
    let padded = forward(Quirk::Pads, 9000);
    assert_eq!(broken(padded), Some(Invariant::MatchesModel));
}

#[test]
fn packets_beyond_the_path_are_noticed() {
    use toy_datagrams::Quirk;
    assert_eq!(broken(forward(Quirk::None, 128)), None);
    let long = forward(Quirk::None, 127);
    assert_eq!(broken(long), Some(Invariant::PathBudget));
}
