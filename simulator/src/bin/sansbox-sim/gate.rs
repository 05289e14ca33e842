//! `gate`: runs every scenario twice and compares.
use crate::args::{Failure, number, say};
use lexopt::Arg;
use sansbox_simulator::{scenario, world::Setup};

/// Seeds of each scenario, unless said otherwise.
const SEEDS: u64 = 8;

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut seeds = SEEDS;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("seeds") => seeds = number(&mut args)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let (mut passed, mut failed) = (0_u64, 0_u64);
    for scenario in scenario::all() {
        for seed in 0..seeds {
            let setup = Setup {
                seed,
                ..Setup::default()
            };
            let (first, second) = (scenario.run(setup.clone()), scenario.run(setup));
            let name = scenario.name;
            match &first.outcome {
                Err(violation) => say(format_args!("FAILED {name} --seed {seed}: {violation}"))?,
                Ok(()) if first != second => {
                    say(format_args!("FAILED {name} --seed {seed}: two runs differ"))?;
                }
                Ok(()) => {
                    passed += 1;
                    continue;
                }
            }
            failed += 1;
        }
    }
    say(format_args!("{passed} passed, {failed} failed"))?;
    Ok(failed == 0)
}
