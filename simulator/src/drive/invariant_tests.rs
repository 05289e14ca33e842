//! Each invariant is broken on purpose somewhere; here are those that need a whole sweep.
use super::{
    MachineHost, Rules,
    toy::{Quirk, Toy},
};
use crate::{
    World,
    check::Invariant,
    explore::{
        Preset, Swarm, Sweep,
        sweep::{Outcome, Progress, Shard},
    },
    host::Command,
    peers::{Script, ScriptHost},
    scenario::{Scenario, Verdict},
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_engine::record::CloseReason;

const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Longer than machines may live on when their peers are done.
const STOP: Duration = Duration::from_secs(7200);
const SEEDS: u64 = 24;
const LITE: Swarm = Swarm {
    preset: Preset::Lite,
    heal_at: Duration::from_secs(120),
};

/// A client and an origin that talk through a toy and end, and a proxy that is stopped at last.
fn relay(world: &mut World, quirk: Quirk) -> Verdict {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let proxy = SocketAddr::new(ip("10.0.0.2"), 1080);
    let target = SocketAddr::new(ip("10.0.0.3"), 80);
    let client = Script::new().exchange("up", "down", 2000);
    let client = client.fin("up").expect_fin("down");
    let answer = || Script::new().exchange("down", "up", 2000);
    let answer = move || answer().expect_fin("up").fin("down");
    let client = ScriptHost::new().dial(proxy, client);
    let make = move |new| Box::new(Toy::new(quirk, target, new)) as _;
    let host = MachineHost::new(Rules::default()).tcp(proxy, Box::new(make));
    let origin = ScriptHost::new().serve(target, move |_| answer());
    world.host("client", &[ip("10.0.0.1")], client);
    let proxy = world.host("proxy", &[ip("10.0.0.2")], host);
    world.host("origin", &[ip("10.0.0.3")], origin);
    world.command(STOP, proxy, Command::Stop);
    world.run(LIMIT)
}

fn swept(body: fn(&mut World) -> Verdict, swarm: Option<Swarm>) -> Outcome {
    let toy = Scenario {
        name: "toy",
        about: "",
        marks: &[],
        body,
    };
    let sweep = Sweep {
        scenarios: vec![toy],
        seeds: 0..SEEDS,
        shard: Shard::WHOLE,
        swarm,
    };
    let outcome = sweep.run(1, &Progress::default(), || false);
    assert_eq!(outcome.run_count(), SEEDS, "a failure ends no sweep");
    outcome
}

fn has(outcome: &Outcome, invariant: Invariant) -> bool {
    let mut failures = outcome.failures.iter();
    failures.any(|failure| failure.signature.invariant == invariant)
}

#[test]
fn a_machine_that_panics_is_a_failure_of_a_sweep_that_goes_on() {
    let calm = swept(|world| relay(world, Quirk::Panics), None);
    assert_eq!(calm.failed_count(), SEEDS);
    for failure in &calm.failures {
        assert_eq!(failure.signature.invariant, Invariant::NoPanic);
        assert!(failure.detail.contains("this toy breaks"), "{failure:?}");
    }
    let panics = swept(|world| relay(world, Quirk::Panics), Some(LITE));
    assert!(has(&panics, Invariant::NoPanic), "{:?}", panics.failed);
    let sound = swept(|world| relay(world, Quirk::Pipes), Some(LITE));
    assert!(!has(&sound, Invariant::NoPanic), "{:?}", sound.failed);
}

#[test]
fn a_machine_that_outlives_its_peers_is_noticed_once_faults_have_healed() {
    let calm = swept(|world| relay(world, Quirk::NeverEnds), None);
    assert_eq!(calm.failed_count(), 0, "being stopped ends it");
    let lasting = swept(|world| relay(world, Quirk::NeverEnds), Some(LITE));
    assert!(has(&lasting, Invariant::Liveness), "{:?}", lasting.failed);
    let sound = swept(|world| relay(world, Quirk::Pipes), Some(LITE));
    assert!(!has(&sound, Invariant::Liveness), "{:?}", sound.failed);
}

#[test]
fn an_end_that_the_scenario_does_not_expect_is_noticed() {
    let run = |quirk| {
        let mut world = World::new(1);
        relay(&mut world, quirk)?;
        let reasons = world.closed().iter().map(|closed| closed.reason);
        let is_expected = reasons.eq([Some(CloseReason::Completed)]);
        world.expect(is_expected, "another reason")
    };
    run(Quirk::Pipes).unwrap();
    let violation = run(Quirk::MistakesReason).unwrap_err();
    assert_eq!(violation.invariant, Invariant::Expected, "{violation}");
}

/// Which test, in which file, trips which invariant. One that is not named here does not compile.
macro_rules! tripped {
    ($($invariant:ident: $file:literal $test:ident,)+) => {
        const TRIPPED: &[(Invariant, &str, &str)] = &[
            $((Invariant::$invariant, include_str!($file), stringify!($test)),)+
        ];

        const fn is_named(invariant: Invariant) -> bool {
            match invariant {
                $(Invariant::$invariant => true,)+
            }
        }
    };
}

tripped! {
    PrefixDelivered: "tests.rs" every_broken_rule_is_noticed,
    NothingAfterFin: "tests.rs" bytes_behind_a_fin_are_noticed,
    EndsDelivered: "tests.rs" every_broken_rule_is_noticed,
    PipeBounded: "tests.rs" a_pipe_without_bound_is_noticed,
    EffectsSettled: "tests.rs" every_broken_rule_is_noticed,
    NamesAreFresh: "tests.rs" every_broken_rule_is_noticed,
    HandshakeDeadline: "tests.rs" every_broken_rule_is_noticed,
    NoBusyLoop: "tests.rs" a_deadline_that_stays_is_a_busy_loop,
    DrainIsIdempotent: "tests.rs" every_broken_rule_is_noticed,
    NoDeadlock: "tests.rs" a_deadlock_says_what_everybody_waits_for,
    NothingLeft: "tests.rs" every_broken_rule_is_noticed,
    OneCloseReason: "tests.rs" every_broken_rule_is_noticed,
    RefusalHasCause: "tests.rs" an_invented_cause_is_noticed,
    PassthroughEmpty: "tests.rs" every_broken_rule_is_noticed,
    ScriptHolds: "../tcp/tests.rs" a_script_that_hears_something_else_fails,
    PathBudget: "watch_tests.rs" packets_beyond_the_path_are_noticed,
    Canary: "watch_tests.rs" payload_in_plain_sight_on_an_encrypted_link_is_noticed,
    SecretsUnlogged: "watch_tests.rs" a_secret_in_a_text_is_noticed_and_not_repeated,
    BackToBaseline: "watch_tests.rs" machines_that_stay_behind_are_noticed,
    MatchesModel: "watch_tests.rs" datagrams_that_nobody_sent_are_noticed,
    NoPanic: "invariant_tests.rs" a_machine_that_panics_is_a_failure_of_a_sweep_that_goes_on,
    Expected: "invariant_tests.rs" an_end_that_the_scenario_does_not_expect_is_noticed,
    Liveness: "invariant_tests.rs" a_machine_that_outlives_its_peers_is_noticed_once_faults_have_healed,
    SameAsRecorded: "../record/picture/tests.rs" a_difference_is_the_fault_of_the_picture,
}

#[test]
fn every_invariant_is_tripped_by_a_test() {
    for (invariant, source, test) in TRIPPED {
        assert!(is_named(*invariant));
        let begin = format!("#[test]\nfn {test}() {{\n");
        let body = source.split_once(&begin).and_then(|(_, rest)| {
            let (body, _) = rest.split_once("\n}\n")?;
            Some(body)
        });
        let body = body.unwrap_or_else(|| panic!("{test} is gone"));
        let name = format!("Invariant::{invariant:?}");
        assert!(body.contains(&name), "{test} says nothing of {name}");
    }
}
