//! What came out of sweeps, for people.
use crate::args::{Failure, say};
use sansbox_simulator::{explore::sweep::Outcome, scenario::Scenario};
use std::collections::BTreeMap;

/// Says what came out of a sweep.
pub(crate) fn outcome(outcome: &Outcome, scenarios: &[Scenario]) -> Result<(), Failure> {
    coverage(outcome, scenarios)?;
    for failure in &outcome.failures {
        say(format_args!(
            "FAILED {}: {}",
            failure.scenario, failure.detail
        ))?;
        say(format_args!(
            "  {} bad things; {}",
            failure.hazards, failure.command
        ))?;
    }
    for (scenario, kinds) in &outcome.failed {
        for (kind, n) in kinds {
            say(format_args!("{n} runs of {scenario} broke {kind}"))?;
        }
    }
    let runs = outcome.run_count();
    let wall = outcome.wall_ms.max(1) as f64 / 1e3;
    let shards = outcome.shards.len();
    say(format_args!(
        "{runs} runs of {} scenarios in {wall:.1} s ({:.0} runs/s, {:.0} virtual s/s, {:.0} events/s)",
        outcome.runs.len(),
        runs as f64 / wall,
        outcome.virtual_ms as f64 / 1e3 / wall,
        outcome.events as f64 / wall,
    ))?;
    let missing = outcome.missing();
    if shards > 1 || !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let missing = missing.join(" ");
        say(format_args!(
            "{shards} shards; missing: {}",
            none_if_empty(&missing)
        ))?;
    }
    if outcome.cut_short {
        say(format_args!("cut short before the last seed"))?;
    }
    say(format_args!("{} failed", outcome.failed_count()))
}

fn none_if_empty(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// Which faults struck, and which marks were hit, over all scenarios.
fn coverage(outcome: &Outcome, scenarios: &[Scenario]) -> Result<(), Failure> {
    let runs = outcome.run_count().max(1) as f64;
    if !outcome.classes.is_empty() {
        say(format_args!("faults, and the runs that they struck in"))?;
    }
    for (class, n) in &outcome.classes {
        let percent = *n as f64 * 100.0 / runs;
        say(format_args!("  {class:<28} {n:>9} {percent:5.1} %"))?;
    }
    let mut marks: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for of_scenario in outcome.marks.values() {
        for (mark, n) in of_scenario {
            let (hits, scenarios) = marks.entry(mark).or_default();
            *hits += n;
            *scenarios += 1;
        }
    }
    say(format_args!("marks, hits, and the scenarios that hit them"))?;
    for (mark, (hits, scenarios)) in marks {
        say(format_args!("  {mark:<28} {hits:>9} {scenarios:>5}"))?;
    }
    for (scenario, mark) in outcome.unhit(scenarios) {
        say(format_args!("  never hit: {mark} of {scenario}"))?;
    }
    Ok(())
}
