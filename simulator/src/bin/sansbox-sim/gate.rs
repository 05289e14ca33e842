//! `gate`: runs every scenario twice and compares.
use crate::args::{self, Failure, jobs, number, say, value};
use lexopt::Arg;
use sansbox_simulator::{
    explore::threads,
    scenario::{self, Scenario},
    world::Setup,
};

/// Seeds of each scenario, unless said otherwise.
const SEEDS: u64 = 8;

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let (mut seeds, mut jobs_max) = (SEEDS, args::cores());
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("seeds") => seeds = number(&mut args)?,
            Arg::Long("jobs") => jobs_max = value(&mut args, jobs)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let (mut passed, mut failed) = (0_u64, 0_u64);
    for wrong in threads::map(&pairs(seeds), jobs_max, compare) {
        match wrong {
            None => passed += 1,
            Some(wrong) => {
                failed += 1;
                say(format_args!("FAILED {wrong}"))?;
            }
        }
    }
    say(format_args!("{passed} passed, {failed} failed"))?;
    Ok(failed == 0)
}

fn pairs(seeds: u64) -> Vec<(Scenario, u64)> {
    let all = scenario::all().into_iter();
    all.flat_map(|scenario| (0..seeds).map(move |seed| (scenario, seed)))
        .collect()
}

/// What is wrong with a scenario at a seed.
fn compare((scenario, seed): &(Scenario, u64)) -> Option<String> {
    let seed = *seed;
    let setup = Setup {
        seed,
        ..Setup::default()
    };
    let (first, second) = (scenario.run(setup.clone()), scenario.run(setup));
    let name = scenario.name;
    match &first.outcome {
        Err(violation) => Some(format!("{name} --seed {seed}: {violation}")),
        Ok(()) if first != second => Some(format!("{name} --seed {seed}: two runs differ")),
        Ok(()) => None,
    }
}
