//! `branch`: how likely a failure is when a run goes on otherwise from some moment.
use crate::{
    args::{self, Failure, duration, jobs, number, say, scenario, value},
    run::Orders,
};
use sansbox_simulator::explore::branch::{Ends, branch, branch_seed, trunk};
use std::time::Duration;

/// Branches of each moment, unless said otherwise.
const BRANCHES: u64 = 50;
/// Moments, unless said otherwise.
const POINTS: u64 = 20;
/// Characters of the bar of certainty.
const BAR_LEN: u64 = 30;

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut orders = Orders::default();
    let (mut threads, mut branches, mut points) = (args::cores(), BRANCHES, POINTS);
    let mut at = None;
    while let Some(arg) = args::next(&mut args)? {
        match arg.name() {
            "jobs" => threads = value(&mut args, jobs)?,
            "at" => at = Some(value(&mut args, duration)?),
            "branches" => branches = number(&mut args)?.max(1),
            "points" => points = number(&mut args)?.max(1),
            _ => orders.option(arg, &mut args)?,
        }
    }
    let run = orders.decisions("branch")?;
    let scenario = scenario(&run.scenario)?;
    let (signature, end) = trunk(scenario, &run);
    match &signature {
        Some(signature) => say(format_args!("the run breaks {signature} at {end:?}"))?,
        None => say(format_args!("the run passes, until {end:?}"))?,
    }
    let moments: Vec<Duration> = match at {
        Some(at) => vec![at],
        None => (0..=points).map(|n| part(end, n, points)).collect(),
    };
    for at in moments {
        let ends = branch(scenario, &run, signature.as_ref(), (at, branches), threads);
        say(format_args!("{}", line(at, ends)))?;
    }
    let first = branch_seed(run.seed, 0);
    say(format_args!(
        "a branch again: --branch-at T --branch-seed {first:#x} (the first)"
    ))?;
    Ok(true)
}

/// `n` of `of` parts of a time.
fn part(time: Duration, n: u64, of: u64) -> Duration {
    let nanos = time.as_nanos() * u128::from(n) / u128::from(of);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn line(at: Duration, ends: Ends) -> String {
    let Ends {
        failed, otherwise, ..
    } = ends;
    let count = ends.count().max(1);
    let bar = "#".repeat((failed * BAR_LEN / count) as usize);
    let percent = failed as f64 * 100.0 / count as f64;
    let bar_len = BAR_LEN as usize;
    let at = format!("{:.6}s", at.as_secs_f64());
    let mut out = format!("{at:>16} {percent:5.1} % |{bar:<bar_len$}|");
    if otherwise > 0 {
        out += &format!(" {otherwise} in another way");
    }
    out
}
