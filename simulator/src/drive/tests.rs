//! The world around a toy relay that works, and around toys that each break one rule.
use super::{
    MachineHost, Rules,
    toy::{Quirk, Toy},
};
use crate::{
    World,
    check::{Invariant, Violation},
    host::Command,
    peers::{Script, ScriptHost, Step},
    tcp::Reach,
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason;

const LIMIT: Duration = Duration::from_secs(4 * 3600);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A client at 10.0.0.1, the toy at 10.0.0.2 port 1080, an origin at 10.0.0.3 port 80.
fn world(seed: u64, quirk: Quirk, client: Script, origin: fn() -> Script) -> World {
    let mut world = World::new(seed);
    let proxy = addr("10.0.0.2:1080");
    let target = addr("10.0.0.3:80");
    let make = Box::new(move |newcomer| Box::new(Toy::new(quirk, target, newcomer)) as _);
    let host = MachineHost::new(Rules::default()).tcp(proxy, make);
    world.host(
        "client",
        &[ip("10.0.0.1")],
        ScriptHost::new().dial(proxy, client),
    );
    let proxy = world.host("proxy", &[ip("10.0.0.2")], host);
    let origin = ScriptHost::new().serve(target, move |_| origin());
    world.host("origin", &[ip("10.0.0.3")], origin);
    world.command(Duration::from_secs(7200), proxy, Command::Stop);
    world
}

fn reasons(world: &World) -> Vec<CloseReason> {
    world.closed().iter().filter_map(|c| c.reason).collect()
}

fn both_ways() -> Script {
    let end = |s: Script| s.fin("up").expect_fin("down");
    end(Script::new().exchange("up", "down", 20_000))
}

fn both_ways_origin() -> Script {
    let end = |s: Script| s.expect_fin("up").fin("down");
    end(Script::new().exchange("down", "up", 20_000))
}

#[test]
fn a_relay_delivers_both_ways_and_ends_clean() {
    for seed in 0..16 {
        let mut world = world(seed, Quirk::None, both_ways(), both_ways_origin);
        world
            .run(LIMIT)
            .unwrap_or_else(|v| panic!("seed {seed}: {v}"));
        assert_eq!(reasons(&world), [CloseReason::Completed], "seed {seed}");
        assert_eq!(world.closed()[0].bytes_up, 20_000);
        assert_eq!(world.closed()[0].bytes_down, 20_000);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed| {
        let mut world = world(seed, Quirk::None, both_ways(), both_ways_origin);
        world.run(LIMIT).unwrap();
        (world.digest(), world.decisions().to_vec(), world.events())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

#[test]
fn one_more_host_shifts_no_random_number_of_the_others() {
    let draws = |crowd: bool| {
        let mut world = world(9, Quirk::None, both_ways(), both_ways_origin);
        if crowd {
            let other = addr("10.0.0.9:1");
            let host = ScriptHost::new().serve(other, |_| Script::new());
            world.host("other", &[ip("10.0.0.9")], host.dial(other, Script::new()));
        }
        world.run(LIMIT).unwrap();
        (world.now(), world.closed().to_vec())
    };
    assert_eq!(draws(false), draws(true));
}

#[test]
fn failed_dials_reach_the_machine() {
    let target = addr("10.0.0.3:80");
    for (reach, refusal) in [
        (Reach::Refused, Refusal::ConnectionRefused),
        (Reach::BlackHole, Refusal::TimedOut),
        (
            Reach::Unreachable(Refusal::HostUnreachable),
            Refusal::HostUnreachable,
        ),
    ] {
        let client = Script::new().then(Step::ExpectReset);
        let mut world = world(1, Quirk::None, client, Script::new);
        world.reach(target, reach);
        let run = world.run(LIMIT);
        if reach == Reach::BlackHole {
            let violation = run.unwrap_err();
            assert_eq!(violation.invariant, Invariant::HandshakeDeadline);
            continue;
        }
        run.unwrap();
        assert_eq!(reasons(&world), [CloseReason::Refused(refusal)]);
    }
}

#[test]
fn a_reset_a_vanished_peer_and_idleness_end_a_relay() {
    let talk = || Script::new().exchange("up", "down", 1000);
    for (last, reason) in [
        (Step::Reset, CloseReason::ClientReset),
        (Step::Vanish, CloseReason::IdleTimeout),
        (Step::Sleep(super::toy::IDLE * 2), CloseReason::IdleTimeout),
    ] {
        let client = talk().then(last).tolerant();
        let origin = || {
            let talk = Script::new().exchange("down", "up", 1000);
            talk.then(Step::ExpectEnd)
        };
        let mut world = world(3, Quirk::None, client, origin);
        world.run(LIMIT).unwrap();
        assert_eq!(reasons(&world), [reason]);
    }
}

fn broken(quirk: Quirk, client: Script, origin: fn() -> Script) -> Violation {
    let mut world = world(2, quirk, client, origin);
    match world.run(LIMIT) {
        Ok(()) => panic!("{quirk:?} was not noticed"),
        Err(violation) => violation,
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    for (quirk, invariant) in [
        (Quirk::FlipsByte, Invariant::PrefixDelivered),
        (Quirk::InventsFin, Invariant::EndsDelivered),
        (Quirk::CancelsUnknown, Invariant::NamesAreFresh),
        (Quirk::ReusesSlot, Invariant::NamesAreFresh),
        (Quirk::LeavesDial, Invariant::EffectsSettled),
        (Quirk::NeverConnects, Invariant::HandshakeDeadline),
        (Quirk::ActsAgain, Invariant::DrainIsIdempotent),
        (Quirk::LeavesSlot, Invariant::NothingLeft),
        (Quirk::KeepsPipes, Invariant::NothingLeft),
        (Quirk::ClosesTwice, Invariant::OneCloseReason),
        (Quirk::NoReason, Invariant::OneCloseReason),
        (Quirk::PassesFull, Invariant::PassthroughEmpty),
    ] {
        let violation = broken(quirk, both_ways(), both_ways_origin);
        assert_eq!(violation.invariant, invariant, "{quirk:?}: {violation}");
    }
}

#[test]
fn a_deadline_that_stays_is_a_busy_loop() {
    let client = Script::new()
        .upload("up", 10)
        .then(Step::Sleep(super::toy::IDLE * 2));
    let origin = || Script::new().download("up", 10).then(Step::ExpectEnd);
    let violation = broken(Quirk::KeepsDeadline, client, origin);
    assert_eq!(violation.invariant, Invariant::NoBusyLoop);
}

#[test]
fn bytes_behind_a_fin_are_noticed() {
    let client = Script::new()
        .expect_fin("down")
        .upload("up", 10)
        .then(Step::ExpectEnd);
    let origin = || Script::new().fin("down").download("up", 10);
    let violation = broken(Quirk::WritesAfterFin, client, origin);
    assert_eq!(violation.invariant, Invariant::NothingAfterFin);
}

#[test]
fn a_pipe_without_bound_is_noticed() {
    let client = Script::new()
        .upload("up", 400_000)
        .fin("up")
        .then(Step::ExpectEnd);
    let origin = || {
        let slow = Script::new().sleep(Duration::from_secs(100));
        slow.download("up", 400_000).expect_fin("up")
    };
    let violation = broken(Quirk::Hoards, client, origin);
    assert_eq!(violation.invariant, Invariant::PipeBounded);
}

#[test]
fn an_invented_cause_is_noticed() {
    let client = Script::new().then(Step::ExpectReset);
    let mut world = world(2, Quirk::InventsCause, client, Script::new);
    world.reach(addr("10.0.0.3:80"), Reach::Refused);
    let violation = world.run(LIMIT).unwrap_err();
    assert_eq!(violation.invariant, Invariant::RefusalHasCause);
}

#[test]
fn a_fin_that_nobody_sees_is_noticed() {
    let client = Script::new()
        .upload("up", 10)
        .fin("up")
        .sleep(Duration::from_secs(1));
    let origin = || {
        Script::new()
            .download("up", 10)
            .sleep(Duration::from_secs(1))
    };
    let violation = broken(Quirk::SwallowsFin, client, origin);
    assert_eq!(violation.invariant, Invariant::EndsDelivered, "{violation}");
}

#[test]
fn a_deadlock_says_what_everybody_waits_for() {
    let client = Script::new().expect("hello");
    let proxy = addr("10.0.0.2:1080");
    let mut world = World::new(1);
    world.host(
        "client",
        &[ip("10.0.0.1")],
        ScriptHost::new().dial(proxy, client),
    );
    let server = ScriptHost::new().serve(proxy, |_| Script::new().expect("who is there"));
    world.host("server", &[ip("10.0.0.2")], server);
    let violation = world.run(LIMIT).unwrap_err();
    assert_eq!(violation.invariant, Invariant::NoDeadlock);
    for said in [
        "client: 1 scripts left",
        "hello",
        "server: 1 scripts",
        "who is there",
    ] {
        assert!(violation.detail.contains(said), "{violation}");
    }
}

#[test]
fn pipes_relay_as_well_as_passthrough() {
    for seed in 0..16 {
        let mut world = world(seed, Quirk::Pipes, both_ways(), both_ways_origin);
        world
            .run(LIMIT)
            .unwrap_or_else(|v| panic!("seed {seed}: {v}"));
        assert_eq!(reasons(&world), [CloseReason::Completed]);
        assert!(world.closed()[0].buffered_max <= 4 * (4096 + (16 << 10)));
    }
}

#[test]
fn stop_ends_a_relay() {
    let client = Script::new().upload("up", 10).then(Step::ExpectEnd);
    let origin = || Script::new().download("up", 10).then(Step::ExpectEnd);
    let mut world = World::new(1);
    let (proxy, target) = (addr("10.0.0.2:1080"), addr("10.0.0.3:80"));
    let make = Box::new(move |newcomer| Box::new(Toy::new(Quirk::None, target, newcomer)) as _);
    let host = MachineHost::new(Rules::default()).tcp(proxy, make);
    world.host(
        "client",
        &[ip("10.0.0.1")],
        ScriptHost::new().dial(proxy, client),
    );
    let proxy = world.host("proxy", &[ip("10.0.0.2")], host);
    let origin = ScriptHost::new().serve(target, move |_| origin());
    world.host("origin", &[ip("10.0.0.3")], origin);
    world.command(Duration::from_secs(5), proxy, Command::Stop);
    world.run(LIMIT).unwrap();
    assert_eq!(reasons(&world), [CloseReason::Stopped]);
}
