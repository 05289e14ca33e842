//! Scenarios of the simulator whose faults and chances the fuzzer decides.
//!
//! The first byte names the scenario, the second the seed, the third how much goes wrong; all
//! others are choices, in the order in which a world makes them, for as long as they last.
use crate::input::Input;
use core::time::Duration;
use sansbox_simulator::{
    explore::{Decisions, Preset, Swarm},
    rng::Source,
    scenario,
    world::Setup,
};
use std::sync::Arc;

/// When faults stop, after the start.
const HEAL_AT: Duration = Duration::from_secs(60);
/// Most bytes that decide.
const LEN_MAX: usize = 1 << 14;

/// Runs the scenario that the bytes choose as they decide it.
///
/// # Panics
/// When the run breaks what must hold in every run; the message says how to run it again.
pub fn scenario(data: &[u8]) {
    let mut input = Input::new(data);
    let all = scenario::all();
    let scenario = all[input.below(all.len())];
    let seed = u64::from(input.byte());
    let preset = if input.one_in(2) {
        Preset::Full
    } else {
        Preset::Lite
    };
    let heal_at = HEAL_AT;
    let bytes = input.take(LEN_MAX);
    let setup = Setup {
        seed,
        source: Source {
            bytes: Some(Arc::from(bytes)),
            ..Source::default()
        },
        swarm: Some(Swarm { preset, heal_at }),
        ..Setup::default()
    };
    let report = scenario.run(setup.clone());
    if let Err(violation) = &report.outcome {
        // What the bytes decided, as a file that needs no bytes any more.
        let mut decisions = Decisions::of(scenario.name, &setup);
        decisions.made = report.decided;
        decisions.is_calm = true;
        panic!("{violation}\n{}", decisions.to_json());
    }
}
