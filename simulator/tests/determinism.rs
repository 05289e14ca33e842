//! Same seed, same bytes: in two runs, in two processes, whatever a run keeps for later; and not
//! without every hook.
use sansbox_simulator::{
    World,
    quic::{Capture, Hook, Hooks, probe},
    scenario::{self, Scenario},
    transcript::{Tag, hex},
    world::Setup,
};
use std::{collections::BTreeSet, process::Command};

/// Scenarios whose worlds run quinn-proto or rustls.
fn encrypted() -> impl Iterator<Item = Scenario> {
    let is_encrypted = |name: &str| name.starts_with("quic_") || name.starts_with("tls_");
    let found = scenario::all().into_iter();
    found.filter(move |scenario| is_encrypted(scenario.name))
}

fn digest(scenario: &Scenario, seed: u64) -> [u8; 32] {
    let report = scenario.run(Setup {
        seed,
        ..Setup::default()
    });
    assert_eq!(report.outcome, Ok(()), "{scenario:?} --seed {seed}");
    report.digest
}

#[test]
fn two_runs_agree_and_two_seeds_do_not() {
    assert!(encrypted().count() >= 10);
    for scenario in encrypted() {
        let first = digest(&scenario, 5);
        assert_eq!(first, digest(&scenario, 5), "{scenario:?}");
        assert_ne!(first, digest(&scenario, 6), "{scenario:?}");
    }
}

#[test]
fn two_processes_agree_with_this_one() {
    for scenario in encrypted() {
        let here = hex(&digest(&scenario, 3));
        for _ in 0..2 {
            let output = Command::new(env!("CARGO_BIN_EXE_sansbox-sim"))
                .args(["run", scenario.name, "--seed", "3"])
                .output()
                .expect("the program starts");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                text.contains(&here),
                "{scenario:?}: {here} is not in {text}"
            );
        }
    }
}

#[test]
fn without_a_hook_two_runs_differ() {
    let run = |hooks| probe::run(1, hooks).expect("the world runs");
    assert_eq!(run(Hooks::default()), run(Hooks::default()));
    for hook in Hook::ALL {
        match hook {
            // Seconds of the wall clock are sealed in tokens, and may be equal in two runs; what
            // this controller draws shows only in transfers longer than this. The tripwire sees
            // both of them.
            Hook::WallClock | Hook::Congestion => {}
            Hook::EndpointRng
            | Hook::ConnectionIds
            | Hook::FirstConnectionId
            | Hook::ResetKey
            | Hook::TokenKey
            | Hook::SecureRandom
            | Hook::KeyExchange
            | Hook::Certificate
            | Hook::Tickets => {
                let hooks = Hooks::without(hook);
                assert_ne!(run(hooks), run(hooks), "{hook:?}");
            }
        }
    }
}

fn captured(name: &str, is_kept: bool) -> ([u8; 32], Capture) {
    let scenario = scenario::find(name).expect("registered");
    let mut world = World::new(4);
    if is_kept {
        world.keep_capture();
    }
    (scenario.body)(&mut world).expect("the world runs");
    (world.digest(), world.capture())
}

#[test]
fn secrets_and_logs_are_the_same_each_time_and_change_nothing() {
    for name in ["quic_early_data", "quic_retry", "tls_resumption"] {
        let (digest, capture) = captured(name, true);
        let (without, empty) = captured(name, false);
        assert_eq!(digest, without, "{name}");
        assert_eq!(empty, Capture::default(), "{name}");
        assert_eq!(
            (digest, &capture),
            (digest, &captured(name, true).1),
            "{name}"
        );
        let different: BTreeSet<&String> = capture.keylog.iter().collect();
        assert_eq!(different.len(), capture.keylog.len(), "{name}");
        for line in &capture.keylog {
            let parts: Vec<&str> = line.split(' ').collect();
            let [label, random, secret] = parts[..] else {
                panic!("{line}");
            };
            assert!(
                label.ends_with("SECRET") || label.ends_with("SECRET_0"),
                "{line}"
            );
            let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(random.len() == 64 && secret.len() >= 64, "{line}");
            assert!(is_hex(random) && is_hex(secret), "{line}");
        }
        let has = |label| capture.keylog.iter().any(|line| line.starts_with(label));
        assert!(
            has("CLIENT_TRAFFIC_SECRET_0 ") && has("SERVER_TRAFFIC_SECRET_0 "),
            "{name}"
        );
    }
}

/// A secret is found by the random of the client's hello, which crosses in the clear.
#[test]
fn secrets_belong_to_the_hellos_that_crossed() {
    let scenario = scenario::find("tls_resumption").expect("registered");
    let mut world = World::with(Setup {
        seed: 2,
        keeps_entries: true,
        ..Setup::default()
    });
    world.keep_capture();
    (scenario.body)(&mut world).expect("the world runs");
    let written = world
        .entries()
        .iter()
        .filter(|entry| entry.tag == Tag::Written);
    let wire = hex(&written
        .flat_map(|entry| entry.bytes.iter().copied())
        .collect::<Vec<u8>>());
    let capture = world.capture();
    let randoms: BTreeSet<&str> = capture
        .keylog
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(randoms.len(), 2, "one for each connection");
    for random in randoms {
        // Behind the handshake's header of 4 bytes and the version of TLS 1.2.
        assert!(wire.contains(&format!("0303{random}")), "{random}");
    }
}

#[test]
fn qlog_names_both_ends_and_counts_virtual_milliseconds() {
    let (_, capture) = captured("quic_early_data", true);
    assert!(
        capture
            .keylog
            .iter()
            .any(|line| line.starts_with("CLIENT_EARLY_TRAFFIC_SECRET "))
    );
    let names: Vec<&str> = capture.qlog.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "client-0-client",
        "client-1-client",
        "server-0-server",
        "server-1-server",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    // The second connection begins five seconds after the first.
    let (_, log) = &capture.qlog[names
        .iter()
        .position(|n| *n == "client-1-client")
        .expect("it")];
    assert!(log.contains(r#""time":5001.0"#), "{log}");
    assert!(log.contains("packet_sent") && log.contains("packet_received"));
}
