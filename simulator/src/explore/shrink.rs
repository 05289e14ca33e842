//! Making a failing run small: the fewest bad things, the simplest values, the fewest peers, with
//! which it still fails in the same way.
//!
//! A run is replayed calm, with only those bad things that happened in it. Then fewer and fewer
//! of them are tried: without whole classes, halves and parts (Zeller's ddmin), then each alone
//! and in pairs; then peers stay away; then times become shorter; and all of it again until
//! nothing changes. Where more than a few are left, the search begins again without one of them:
//! another cause of the same failure may be simpler. A smaller run counts only when it fails with
//! the same signature. What no longer happens in the smaller run is dropped along the way.
mod causes;
mod passes;
#[cfg(test)]
mod tests;
mod tries;

use super::{Decisions, decisions::Signature};
use crate::{
    rng::Named,
    scenario::{Report, Scenario},
};
use core::sync::atomic::{AtomicU64, Ordering};
use tries::{Found, faults_of};

/// Runs, unless said otherwise.
pub const RUNS_MAX: u64 = 5_000;

/// Why nothing was made small.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShrinkError {
    /// There is nothing to keep.
    #[error("the run passes: there is no failure to make small")]
    Passes,
    /// The run fails, but not with the signature of its file.
    #[error("the run fails by {got}, its file says {expected}")]
    Another {
        /// What broke.
        got: Signature,
        /// What the file says.
        expected: Signature,
    },
    /// The same bad things without the dice do not give the same run: a scenario draws in a way
    /// that cannot be replayed.
    #[error("the run does not replay from its decisions")]
    DoesNotReplay,
}

/// How much a search may cost, and how far it is.
#[derive(Debug)]
pub struct Effort {
    /// Runs tried at the same time.
    pub threads: usize,
    /// Runs in all.
    pub runs_max: u64,
    /// Runs so far.
    pub runs: AtomicU64,
    /// Bad things that are left.
    pub left: AtomicU64,
}

impl Effort {
    /// An effort of at most so many runs.
    #[must_use]
    pub const fn new(threads: usize, runs_max: u64) -> Self {
        Self {
            threads,
            runs_max,
            runs: AtomicU64::new(0),
            left: AtomicU64::new(0),
        }
    }

    fn is_spent(&self) -> bool {
        self.runs.load(Ordering::Relaxed) >= self.runs_max
    }
}

/// A failing run that was made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The small run.
    pub decisions: Decisions,
    /// What it does.
    pub report: Report,
    /// Bad things that happened at first.
    pub faults_before: usize,
    /// Bad things that are left.
    pub faults_after: usize,
    /// Did it get as small as it gets, or did the effort end?
    pub is_minimal: bool,
}

struct Search<'a> {
    scenario: Scenario,
    start: &'a Decisions,
    signature: Signature,
    effort: &'a Effort,
}

/// Makes a failing run small.
///
/// # Errors
/// When it does not fail, or not as its decisions say.
pub fn shrink(
    scenario: Scenario,
    start: &Decisions,
    effort: &Effort,
) -> Result<Shrunk, ShrinkError> {
    let first = scenario.run(start.setup());
    let Err(violation) = &first.outcome else {
        return Err(ShrinkError::Passes);
    };
    let got = Signature::of(violation);
    if let Some(expected) = start.signature.clone().filter(|s| *s != got) {
        return Err(ShrinkError::Another { got, expected });
    }
    let search = Search {
        scenario,
        start,
        signature: got,
        effort,
    };
    let faults = faults_of(&first);
    let is_fault = |d: &Named| {
        faults
            .iter()
            .any(|f| (&f.stream, f.nth) == (&d.stream, d.nth))
    };
    let chosen = start.made.iter().filter(|d| !is_fault(d));
    let (faults_before, chosen) = (faults.len(), chosen.cloned().collect());
    let replayed = search.try_all(vec![(faults.clone(), chosen)]);
    let (_, whole) = replayed.ok_or(ShrinkError::DoesNotReplay)?;
    let whole = search.without_values(whole);
    let found = search.small(whole.clone());
    let found = search.with_other_causes(found, &whole);
    let mut decisions = search.decisions(&found.faults, &found.chosen);
    decisions.signature = Some(search.signature);
    Ok(Shrunk {
        decisions,
        faults_before,
        faults_after: found.faults.len(),
        report: found.report,
        is_minimal: !effort.is_spent(),
    })
}

impl Search<'_> {
    /// As small as it gets one step at a time.
    fn small(&self, mut found: Found) -> Found {
        loop {
            let before = (found.faults.clone(), found.chosen.clone());
            found = self.without_classes(found);
            found = self.without_faults(found);
            found = self.without_pairs(found);
            found = self.without_peers(found);
            found = self.with_short_times(found);
            if (&found.faults, &found.chosen) == (&before.0, &before.1) || self.effort.is_spent() {
                return found;
            }
        }
    }
}
