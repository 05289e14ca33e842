//! Sweeps find planted bugs, shrinking makes what they find small, and shards merge.
use sansbox_simulator::{
    check::Invariant,
    explore::{
        Decisions, Preset, Swarm,
        branch::{branch, trunk},
        shrink::{Effort, RUNS_MAX, ShrinkError, Shrunk, shrink},
        sweep::{MergeError, Outcome, Progress, Shard, Sweep},
    },
    scenario::{self, Scenario},
    world::Setup,
};
use std::{sync::atomic::Ordering, time::Duration};

const THREADS: usize = 2;
const FULL: Swarm = Swarm {
    preset: Preset::Full,
    heal_at: Duration::from_secs(120),
};

fn planted(name: &str) -> Scenario {
    scenario::find(name).expect("a planted scenario")
}

fn sweep(name: &str, seeds: u64) -> Sweep {
    Sweep {
        scenarios: vec![planted(name)],
        seeds: 0..seeds,
        shard: Shard::WHOLE,
        swarm: Some(FULL),
    }
}

fn outcome(sweep: &Sweep) -> Outcome {
    sweep.run(THREADS, &Progress::default(), || false)
}

fn shrunk(scenario: Scenario, seed: u64) -> Result<Shrunk, ShrinkError> {
    let setup = Setup {
        seed,
        swarm: Some(FULL),
        ..Setup::default()
    };
    let effort = Effort::new(THREADS, RUNS_MAX);
    let shrunk = shrink(scenario, &Decisions::of(scenario.name, &setup), &effort)?;
    assert!(shrunk.is_minimal && effort.runs.load(Ordering::Relaxed) <= RUNS_MAX);
    Ok(shrunk)
}

#[test]
fn three_planted_bugs_are_found_and_become_small() {
    for (name, seeds, invariants) in [
        (
            "planted_replay",
            60,
            &[
                Invariant::PrefixDelivered,
                Invariant::EndsDelivered,
                Invariant::NothingAfterFin,
            ][..],
        ),
        ("planted_spin", 300, &[Invariant::NoBusyLoop]),
        (
            "planted_leak",
            60,
            &[Invariant::EffectsSettled, Invariant::NothingLeft],
        ),
    ] {
        let found = outcome(&sweep(name, seeds));
        assert!(found.failed_count() > 0, "{name} was not found");
        for failure in &found.failures {
            let invariant = failure.signature.invariant;
            assert!(invariants.contains(&invariant), "{name}: {invariant:?}");
        }
        let failure = found.failures.first().expect("a failure");
        let shrunk = shrunk(planted(name), failure.seed).expect("it fails");
        let made = &shrunk.decisions.made;
        assert!(made.len() <= 5, "{name}: {made:?}");
        assert_eq!(
            shrunk.decisions.signature.as_ref(),
            Some(&failure.signature)
        );

        // The file says all there is to say.
        let file = Decisions::parse(&shrunk.decisions.to_json()).expect("its own file");
        let again = planted(name).run(file.setup());
        assert_eq!(again.digest, shrunk.report.digest, "{name}");
        assert_eq!(again.outcome, shrunk.report.outcome, "{name}");
    }
}

#[test]
fn of_dozens_of_bad_things_few_are_left() {
    /// Failures of each scenario that are made small.
    const EACH: usize = 6;
    let mut sizes = Vec::new();
    for (n, name) in ["planted_replay", "planted_spin", "planted_leak"]
        .iter()
        .enumerate()
    {
        for seed in 0..300 {
            if sizes.len() == EACH * (n + 1) {
                break;
            }
            let setup = sweep(name, 1).setup(seed);
            let report = planted(name).run(setup);
            let bad = report.hazards.len();
            if report.outcome.is_err() && (30..=60).contains(&bad) {
                let shrunk = shrunk(planted(name), seed).expect("it fails");
                assert!(shrunk.faults_before >= 20);
                sizes.push(shrunk.faults_after);
            }
        }
    }
    sizes.sort_unstable();
    let median = sizes.get(sizes.len() / 2).copied();
    assert!(sizes.len() >= 5, "{sizes:?}");
    assert!(median.is_some_and(|median| median <= 5), "{sizes:?}");
}

#[test]
fn what_passes_is_not_made_small_and_another_failure_is_not_taken_for_it() {
    let calm = Decisions {
        scenario: "planted_leak".into(),
        seed: 1,
        ..Decisions::default()
    };
    let effort = Effort::new(1, RUNS_MAX);
    let leak = planted("planted_leak");
    let passes = shrink(leak, &calm, &effort).map(|s| s.faults_after);
    assert_eq!(passes, Err(ShrinkError::Passes));
    let failing = outcome(&sweep("planted_leak", 60)).failures.remove(0);
    let mut file = shrunk(leak, failing.seed).expect("it fails").decisions;
    if let Some(signature) = &mut file.signature {
        signature.invariant = Invariant::NoDeadlock;
    }
    let another = shrink(leak, &file, &effort).map(|s| s.faults_after);
    assert!(
        matches!(another, Err(ShrinkError::Another { .. })),
        "{another:?}"
    );
}

#[test]
fn shards_merge_to_the_whole_and_threads_do_not_matter() {
    let whole = sweep("planted_leak", 41);
    let mut expected = outcome(&whole);
    let alone = whole.run(1, &Progress::default(), || false);
    assert_eq!(alone, expected);
    let part = |index| Sweep {
        shard: Shard { index, of: 3 },
        ..whole.clone()
    };
    let mut merged = Outcome::parse(&outcome(&part(2)).to_json()).expect("its own file");
    assert_eq!(merged.missing().len(), 2);
    merged.merge(outcome(&part(3))).expect("another shard");
    merged.merge(outcome(&part(1))).expect("the last shard");
    assert_eq!(merged.missing(), []);
    expected.shards.clone_from(&merged.shards);
    assert_eq!(merged, expected);
    let twice = merged.clone().merge(outcome(&part(1)));
    assert_eq!(twice, Err(MergeError::Twice(Shard { index: 1, of: 3 })));
    let mut other = part(1);
    other.seeds = 0..40;
    let other = outcome(&other);
    let different = merged.merge(other).unwrap_err().to_string();
    assert!(different.contains("range of seeds"), "{different}");
}

#[test]
fn damaged_results_are_refused() {
    let text = outcome(&sweep("planted_leak", 3)).to_json();
    for len in (0..text.trim_end().len()).step_by(7) {
        let cut = Outcome::parse(text.get(..len).unwrap_or_default());
        assert!(matches!(cut, Err(MergeError::Damaged(_))), "{len}");
    }
    let foreign = Outcome::parse("{\"format\": \"sansbox-decisions-1\"}");
    assert!(matches!(foreign, Err(MergeError::Format(_))), "{foreign:?}");
}

#[test]
fn a_sweep_over_time_says_that_it_was_cut_short() {
    let progress = Progress::default();
    let enough = || progress.runs.load(Ordering::Relaxed) >= 5;
    let cut = sweep("planted_leak", 1000).run(THREADS, &progress, enough);
    assert!(cut.cut_short && cut.run_count() >= 5 && cut.run_count() < 1000);
}

#[test]
fn marks_that_were_never_hit_are_named() {
    let hidden = Scenario {
        marks: &["closed Completed", "pigs flew"],
        ..planted("planted_leak")
    };
    let outcome = outcome(&Sweep {
        scenarios: vec![hidden],
        ..sweep("planted_leak", 4)
    });
    assert_eq!(outcome.unhit(&[hidden]), [("planted_leak", "pigs flew")]);
}

#[test]
fn branches_tell_when_a_failure_became_inevitable() {
    let leak = planted("planted_leak");
    let seed = outcome(&sweep("planted_leak", 60)).failures[0].seed;
    let run = shrunk(leak, seed).expect("it fails").decisions;
    let (signature, end) = trunk(leak, &run);
    let count = |at| branch(leak, &run, signature.as_ref(), (at, 12), THREADS);
    let (first, last) = (count(Duration::ZERO), count(end));
    assert_eq!(last.failed, 12, "at its end nothing can save it");
    assert!(first.passed > 0, "{first:?}");
    assert_eq!(count(Duration::ZERO), first, "branches replay");
}
