//! `sweep`: many seeds of many scenarios under a swarm of faults.
use crate::{
    args::{self, Failure, Faults, Word, chosen, duration, jobs, say, text, value, write},
    tell,
};
use core::ops::Range;
use sansbox_simulator::{
    explore::sweep::{Outcome, Progress, Shard, Sweep},
    scenario::Scenario,
};
use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Seeds, unless said otherwise.
const SEEDS: u64 = 64;
/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// Characters of the bar.
const BAR_LEN: u64 = 30;

struct Orders {
    names: Vec<String>,
    seeds: Option<Range<u64>>,
    time: Option<Duration>,
    jobs: usize,
    shard: Shard,
    faults: Faults,
    json: Option<String>,
    wants_marks: bool,
}

fn orders(args: &mut lexopt::Parser) -> Result<Orders, Failure> {
    let mut orders = Orders {
        names: Vec::new(),
        seeds: None,
        time: None,
        jobs: args::cores(),
        shard: Shard::WHOLE,
        faults: Faults::swarming(),
        json: None,
        wants_marks: false,
    };
    while let Some(arg) = args::next(args)? {
        match &arg {
            Word::Value(name) => orders.names.push(name.clone()),
            Word::Short(_) => return Err(arg.unexpected()),
            Word::Long(name) => match name.as_str() {
                "seeds" => orders.seeds = Some(value(args, parse_seeds)?),
                "time" => orders.time = Some(value(args, duration)?),
                "jobs" => orders.jobs = value(args, jobs)?,
                "shard" => orders.shard = value(args, str::parse)?,
                "json" => orders.json = Some(text(args)?),
                "all-marks" => orders.wants_marks = true,
                _ => orders.faults.option(arg, args)?,
            },
        }
    }
    Ok(orders)
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..");
    let ends = parts.and_then(|(a, b)| Some((seed(a)?, seed(b)?)));
    match ends {
        Some((a, b)) if a < b => Ok(a..b),
        _ => Err("seeds are A..B, the last not included".to_owned()),
    }
}

fn seed(text: &str) -> Option<u64> {
    args::parse_number(text).ok()
}

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let orders = orders(&mut args)?;
    // With a time and no seeds, the time ends it.
    let default = if orders.time.is_some() {
        u64::MAX
    } else {
        SEEDS
    };
    let sweep = Sweep {
        scenarios: chosen(&orders.names)?,
        seeds: orders.seeds.clone().unwrap_or(0..default),
        shard: orders.shard,
        swarm: orders.faults.swarm(),
    };
    let mut outcome = watched(&sweep, &orders);
    if orders.seeds.is_none() && orders.time.is_some() {
        outcome.cut_short = false;
    }
    if let Some(path) = &orders.json {
        write(path, outcome.to_json().as_bytes())?;
    }
    told(&outcome, &sweep.scenarios, orders.wants_marks)
}

/// Says what came out; is it well?
pub(crate) fn told(
    outcome: &Outcome,
    scenarios: &[Scenario],
    wants_marks: bool,
) -> Result<bool, Failure> {
    tell::outcome(outcome, scenarios)?;
    let unhit = outcome.unhit(scenarios);
    if wants_marks && !unhit.is_empty() {
        say(format_args!("{} marks were never hit", unhit.len()))?;
        return Ok(false);
    }
    Ok(outcome.failed_count() == 0)
}

/// Sweeps, with a bar on a terminal.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a sweep takes is measured outside of all worlds"
)]
fn watched(sweep: &Sweep, orders: &Orders) -> Outcome {
    let began = Instant::now();
    let progress = Progress::default();
    let is_done = AtomicBool::new(false);
    let is_over = || orders.time.is_some_and(|time| began.elapsed() >= time);
    let shows = io::stderr().is_terminal();
    let mut outcome = thread::scope(|scope| {
        let watcher = shows.then(|| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    show(&bar(sweep, orders, &progress, began.elapsed()));
                    thread::park_timeout(BAR_EVERY);
                }
                show("");
            })
        });
        let outcome = sweep.run(orders.jobs, &progress, is_over);
        is_done.store(true, Ordering::Relaxed);
        if let Some(watcher) = watcher {
            watcher.thread().unpark();
        }
        outcome
    });
    let wall = began.elapsed().as_millis();
    outcome.wall_ms = u64::try_from(wall).unwrap_or(u64::MAX);
    outcome
}

/// A bar that nobody sees is no reason to stop.
fn show(line: &str) {
    let _ = write!(io::stderr(), "\r\x1b[2K{line}");
    let _ = io::stderr().flush();
}

fn bar(sweep: &Sweep, orders: &Orders, progress: &Progress, elapsed: Duration) -> String {
    let runs = progress.runs.load(Ordering::Relaxed);
    let failed = progress.failed.load(Ordering::Relaxed);
    let by_runs = runs as f64 / (sweep.len() as f64).max(1.0);
    let by_time = orders.time.map(|t| elapsed.as_secs_f64() / t.as_secs_f64());
    let done = by_time.unwrap_or(0.0).max(by_runs).min(1.0);
    let full = (done * BAR_LEN as f64) as usize;
    let bar = format!(
        "{}{}",
        "#".repeat(full),
        ".".repeat(BAR_LEN as usize - full)
    );
    let rate = runs as f64 / elapsed.as_secs_f64().max(0.001);
    format!(
        "[{bar}] {:3.0} %  {runs} runs  {rate:.0}/s  {failed} failed",
        done * 100.0
    )
}
