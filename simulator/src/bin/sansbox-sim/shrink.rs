//! `shrink`: makes a failing run small.
use crate::{
    args::{self, Failure, jobs, number, say, scenario, text, value, write},
    pictures::Pictures,
    run::Orders,
};
use sansbox_simulator::explore::{
    Decisions,
    decisions::inline,
    shrink::{Effort, RUNS_MAX, Shrunk, shrink},
};
use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut orders = Orders::default();
    let (mut threads, mut runs_max) = (args::cores(), RUNS_MAX);
    let mut out = None;
    let mut pictures = Pictures::default();
    while let Some(arg) = args::next(&mut args)? {
        match arg.name() {
            "jobs" => threads = value(&mut args, jobs)?,
            "runs" => runs_max = number(&mut args)?,
            "out" => out = Some(text(&mut args)?),
            name if Pictures::has(name) => pictures.option(name, &mut args)?,
            _ => orders.option(arg, &mut args)?,
        }
    }
    let start = orders.decisions("shrink")?;
    let effort = Effort::new(threads, runs_max);
    let (shrunk, took) = watched(&start, &effort)?;
    let path = out.unwrap_or_else(|| format!("{}-{:x}.json", start.scenario, start.seed));
    write(&path, shrunk.decisions.to_json().as_bytes())?;
    told_of(&shrunk, &effort, took, &path)?;
    pictures.draw_again(&shrunk.decisions)?;
    Ok(true)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is measured outside of all worlds"
)]
fn watched(start: &Decisions, effort: &Effort) -> Result<(Shrunk, Duration), Failure> {
    let began = Instant::now();
    let scenario = scenario(&start.scenario)?;
    let is_done = AtomicBool::new(false);
    let shows = io::stderr().is_terminal();
    let shrunk = thread::scope(|scope| {
        let watcher = shows.then(|| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let runs = effort.runs.load(Ordering::Relaxed);
                    let left = effort.left.load(Ordering::Relaxed);
                    // Progress that nobody sees is no reason to stop.
                    let _ = write!(io::stderr(), "\r\x1b[2K{runs} runs, {left} bad things left");
                    let _ = io::stderr().flush();
                    thread::park_timeout(SHOWN_EVERY);
                }
                let _ = write!(io::stderr(), "\r\x1b[2K");
            })
        });
        let shrunk = shrink(scenario, start, effort);
        is_done.store(true, Ordering::Relaxed);
        if let Some(watcher) = watcher {
            watcher.thread().unpark();
        }
        shrunk
    });
    let shrunk = shrunk.map_err(|e| Failure::Told(e.to_string()))?;
    Ok((shrunk, began.elapsed()))
}

fn told_of(shrunk: &Shrunk, effort: &Effort, took: Duration, path: &str) -> Result<(), Failure> {
    let runs = effort.runs.load(Ordering::Relaxed);
    let (before, after) = (shrunk.faults_before, shrunk.faults_after);
    let took = took.as_secs_f64();
    say(format_args!(
        "{before} bad things, then {after}, after {runs} runs in {took:.2} s"
    ))?;
    if !shrunk.is_minimal {
        say(format_args!(
            "the runs ended before it was as small as it gets"
        ))?;
    }
    for made in &shrunk.decisions.made {
        say(format_args!("  {}", inline(core::slice::from_ref(made))))?;
    }
    if let Err(violation) = &shrunk.report.outcome {
        say(format_args!("{violation}"))?;
    }
    say(format_args!("{}", shrunk.decisions.command_with(path)))?;
    match shrunk.decisions.command() {
        Some(command) => say(format_args!("{command}")),
        None => Ok(()),
    }
}
