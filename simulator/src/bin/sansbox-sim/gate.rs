//! `gate`: runs every scenario twice and compares.
use crate::args::{self, Failure, jobs, number, say, value};
use lexopt::Arg;
use sansbox_simulator::{
    scenario::{self, Scenario},
    world::Setup,
};
use std::{
    iter,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
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
    for wrong in compare_all(&pairs(seeds), jobs_max) {
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

/// What is wrong with each pair, in their order, found by so many threads.
fn compare_all(pairs: &[(Scenario, u64)], jobs: usize) -> Vec<Option<String>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let take = || {
            let at = next.fetch_add(1, Relaxed);
            pairs.get(at).map(|pair| (at, pair))
        };
        iter::from_fn(take)
            .map(|(at, (scenario, seed))| (at, compare(scenario, *seed)))
            .collect::<Vec<_>>()
    };
    let mut found: Vec<(usize, Option<String>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|part| part.expect("a panic ends the gate"))
            .collect()
    });
    found.sort_unstable_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, wrong)| wrong).collect()
}

fn compare(scenario: &Scenario, seed: u64) -> Option<String> {
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
