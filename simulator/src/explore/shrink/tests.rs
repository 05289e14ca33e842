//! Failures whose causes are known, made small.
use super::{Effort, RUNS_MAX, Shrunk, shrink};
use crate::{
    World,
    check::{Invariant, Violation},
    explore::{Decisions, decisions::parse_inline},
    scenario::{Scenario, Verdict},
};

/// Does it strike, as it always does unless it is taken away?
fn strikes(world: &mut World, class: &str) -> bool {
    let streams = &mut world.net.core.streams;
    let stream = streams.open(&format!("fault/{class}/it"));
    streams.hazard(stream, 1_000_000)
}

fn broken(world: &World, is_broken: bool) -> Verdict {
    if !is_broken {
        return Ok(());
    }
    Err(Violation {
        at: world.now(),
        host: "it".into(),
        invariant: Invariant::NothingLeft,
        detail: String::new(),
    })
}

fn shrunk(body: fn(&mut World) -> Verdict, made: &str) -> Shrunk {
    let scenario = Scenario {
        name: "known",
        about: "",
        marks: &[],
        body,
    };
    let start = Decisions {
        scenario: "known".into(),
        made: parse_inline(made).unwrap(),
        ..Decisions::default()
    };
    let small = shrink(scenario, &start, &Effort::new(1, RUNS_MAX)).unwrap();
    assert!(small.is_minimal);
    let again = scenario.run(small.decisions.setup());
    assert_eq!(again.outcome, small.report.outcome);
    small
}

fn made(small: &Shrunk) -> Vec<&str> {
    let made = small.decisions.made.iter();
    made.map(|d| &*d.stream).collect()
}

/// Breaks by the first three, none of which can be spared, or by two others.
fn two_causes(world: &mut World) -> Verdict {
    let [a, b, c, d, e, f] = ["a", "b", "c", "d", "e", "f"].map(|class| strikes(world, class));
    broken(world, a && b && c || d && f && !(a && e))
}

#[test]
fn a_shorter_cause_is_found_behind_a_longer_one() {
    let small = shrunk(two_causes, "");
    assert_eq!(small.faults_before, 6);
    assert_eq!(made(&small), ["fault/d/it", "fault/f/it"]);
}

/// Breaks by one thing, while the time of another is drawn.
fn one_cause(world: &mut World) -> Verdict {
    let is_broken = strikes(world, "a");
    let streams = &mut world.net.core.streams;
    let time = streams.open("fault/b/time");
    let waits = (0..3).any(|_| streams.below(time, 100) == 77);
    let is_late = waits || strikes(world, "c");
    broken(world, is_broken && is_late)
}

#[test]
fn what_is_chosen_and_does_not_matter_is_dropped() {
    let times = "fault/b/time@0=5,fault/b/time@1=0,fault/b/time@2=99";
    let small = shrunk(one_cause, times);
    assert_eq!(made(&small), ["fault/a/it", "fault/c/it"]);
    // Two at least are needed, be it a choice or a bad thing.
    let small = shrunk(
        one_cause,
        "fault/b/time@0=5,fault/b/time@1=77,fault/b/time@2=99",
    );
    assert_eq!(small.decisions.made.len(), 2);
    assert_eq!(small.faults_after, 1);
}
