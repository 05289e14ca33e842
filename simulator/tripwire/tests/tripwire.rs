//! No world reads the system's clock or entropy, and the tripwire would tell if one did.
use ring::rand::SecureRandom as _;
use sansbox_simulator::{
    World,
    explore::threads,
    quic::{Hook, Hooks, probe},
    scenario::{self, Scenario},
    world::Setup,
};
use sansbox_tripwire::{CAN_WATCH, Trip, watch};
use std::{thread, time};

/// Seeds of each scenario.
const SEEDS: u64 = 3;

fn skips() -> bool {
    if !CAN_WATCH {
        eprintln!("skipped: the C library's functions can be replaced on Linux with glibc only");
    }
    !CAN_WATCH
}

fn all(trips: &[Trip]) -> String {
    trips.iter().map(Trip::to_string).collect()
}

#[test]
fn no_scenario_reads_the_clock_or_entropy_of_the_system() {
    if skips() {
        return;
    }
    let scenarios = scenario::all();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let wrong = threads::map(&scenarios, cores, tripped);
    let wrong: String = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong}");
}

/// What the first seed that trips says.
fn tripped(scenario: &Scenario) -> Option<String> {
    (0..SEEDS).find_map(|seed| {
        let (report, trips) = watch(|| {
            scenario.run(Setup {
                seed,
                ..Setup::default()
            })
        });
        assert_eq!(report.outcome, Ok(()), "{} --seed {seed}", scenario.name);
        let (first, count) = (trips.first()?, trips.len());
        let name = scenario.name;
        Some(format!(
            "{name} --seed {seed}, {count} calls, the first: {first}\n"
        ))
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads what must not be read")]
fn every_way_to_the_clock_and_to_entropy_trips() {
    if skips() {
        return;
    }
    let ways: [(&str, fn()); 4] = [
        ("clock_gettime", || {
            let _ = time::Instant::now();
        }),
        ("clock_gettime", || {
            let _ = time::SystemTime::now();
        }),
        // Finds the function with dlsym.
        ("getrandom", || {
            getrandom::fill(&mut [0; 8]).expect("entropy")
        }),
        // Calls the kernel by number.
        ("syscall(SYS_getrandom)", || {
            let random = ring::rand::SystemRandom::new();
            random.fill(&mut [0; 8]).expect("entropy");
        }),
    ];
    for (function, way) in ways {
        let ((), trips) = watch(way);
        let found = trips.iter().any(|trip| trip.function == function);
        assert!(found, "{function}: {}", all(&trips));
    }
    let ((), trips) = watch(|| ());
    assert!(trips.is_empty(), "{}", all(&trips));
}

/// Who is caught when a hook is away: the end of a place on the stack.
const fn culprit(hook: Hook) -> &'static str {
    match hook {
        Hook::EndpointRng => "/src/endpoint.rs",
        Hook::ConnectionIds | Hook::FirstConnectionId => "/src/cid_generator.rs",
        Hook::ResetKey | Hook::TokenKey => "/src/config/mod.rs",
        Hook::WallClock => "StdSystemTime as quinn_proto",
        Hook::SecureRandom => "/src/crypto/ring/mod.rs",
        Hook::KeyExchange => "/src/crypto/ring/kx.rs",
        Hook::Certificate => "/src/key_pair.rs",
        Hook::Tickets => "/src/crypto/ring/ticketer.rs",
        Hook::Congestion => "/src/congestion/bbr/mod.rs",
    }
}

#[test]
fn without_a_hook_the_tripwire_names_who_asks_the_system() {
    if skips() {
        return;
    }
    let (outcome, trips) = watch(|| probe::run(1, Hooks::default()));
    assert!(
        outcome.is_ok() && trips.is_empty(),
        "{outcome:?} {}",
        all(&trips)
    );
    for hook in Hook::ALL {
        let (outcome, trips) = watch(|| probe::run(1, Hooks::without(hook)));
        assert!(outcome.is_ok(), "{hook:?}: {outcome:?}");
        // A release build has no names left.
        let is_named = |trip: &Trip| !cfg!(debug_assertions) || trip.stack.contains(culprit(hook));
        assert!(trips.iter().any(is_named), "{hook:?}: {}", all(&trips));
    }
}

#[test]
fn a_kept_capture_reads_the_clock_once_for_each_qlog_and_nothing_else() {
    if skips() {
        return;
    }
    let scenario = scenario::find("quic_resumption").expect("registered");
    let (logs, trips) = watch(|| {
        let mut world = World::new(1);
        world.keep_capture();
        (scenario.body)(&mut world).expect("the world runs");
        world.capture().qlog.len()
    });
    assert_eq!((logs, trips.len()), (4, 4), "{}", all(&trips));
    let is_start = |trip: &Trip| {
        trip.function == "clock_gettime"
            && (!cfg!(debug_assertions) || trip.stack.contains("/src/config/transport.rs"))
    };
    assert!(trips.iter().all(is_start), "{}", all(&trips));
}
