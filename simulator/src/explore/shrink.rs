//! Making a failing run small: the fewest bad things, the simplest values, the fewest peers, with
//! which it still fails in the same way.
//!
//! A run is replayed calm, with only those bad things that happened in it. Then fewer and fewer
//! of them are tried: halves and parts (Zeller's ddmin), then each alone and in pairs; then peers
//! stay away; then times become shorter. A smaller run counts only when it fails with the same
//! signature. What no longer happens in the smaller run is dropped along the way.
use super::{
    Decisions,
    decisions::Signature,
    swarm::{class_of, is_presence},
};
use crate::{
    rng::Named,
    scenario::{Report, Scenario},
};
use core::sync::atomic::{AtomicU64, Ordering};
use std::{collections::BTreeSet, thread};

/// Runs, unless said otherwise.
pub const RUNS_MAX: u64 = 5_000;
/// Up to so many bad things are also tried away in pairs.
const PAIRS_MAX: usize = 16;
/// Of so many times it is tried whether shorter ones do.
const TIMES_MAX: usize = 32;

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

/// A run that fails as wanted, and what makes it.
#[derive(Clone)]
struct Found {
    /// Bad things, in the order in which they happen.
    faults: Vec<Named>,
    /// Values and absences that were chosen on the way.
    chosen: Vec<Named>,
    report: Report,
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
    let (_, mut found) = replayed.ok_or(ShrinkError::DoesNotReplay)?;
    loop {
        let size = (found.faults.len(), found.chosen.clone());
        found = search.without_classes(found);
        found = search.ddmin(found);
        found = search.without_pairs(found);
        found = search.without_peers(found);
        found = search.with_simple_values(found);
        if (found.faults.len(), found.chosen.clone()) == size || effort.is_spent() {
            break;
        }
    }
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

/// The bad things that happened in a run. That a class exists counts only where nothing else
/// tells of it.
fn faults_of(report: &Report) -> Vec<Named> {
    let struck = report.hazards.iter().filter(|d| !is_presence(&d.stream));
    let struck: BTreeSet<&str> = struck.filter_map(|d| class_of(&d.stream)).collect();
    let counts = |d: &&Named| {
        let class = class_of(&d.stream);
        !is_presence(&d.stream) || class.is_some_and(|class| !struck.contains(class))
    };
    report.hazards.iter().filter(counts).cloned().collect()
}

impl Search<'_> {
    fn decisions(&self, faults: &[Named], chosen: &[Named]) -> Decisions {
        let is_new = |d: &&Named| {
            !chosen
                .iter()
                .any(|c| (&c.stream, c.nth) == (&d.stream, d.nth))
        };
        let mut made: Vec<Named> = faults.iter().filter(is_new).cloned().collect();
        made.extend_from_slice(chosen);
        Decisions {
            is_calm: true,
            signature: None,
            made,
            ..self.start.clone()
        }
    }

    /// Tries runs, several at a time; the first in order that fails as wanted.
    fn try_all(&self, candidates: Vec<(Vec<Named>, Vec<Named>)>) -> Option<(usize, Found)> {
        let threads = self.effort.threads.max(1);
        let mut first = 0;
        for batch in candidates.chunks(threads) {
            if self.effort.is_spent() && first > 0 {
                return None;
            }
            let found: Vec<Option<Found>> = match batch {
                [(faults, chosen)] => vec![self.try_one(faults, chosen)],
                several => thread::scope(|scope| {
                    let start = |(faults, chosen): &'_ (Vec<Named>, Vec<Named>)| {
                        let (faults, chosen) = (faults.clone(), chosen.clone());
                        scope.spawn(move || self.try_one(&faults, &chosen))
                    };
                    let running: Vec<_> = several.iter().map(start).collect();
                    let done = running.into_iter().map(|run| run.join());
                    done.map(|found| found.expect("runs catch what they panic with"))
                        .collect()
                }),
            };
            for (n, found) in found.into_iter().enumerate() {
                if let Some(found) = found {
                    let left = found.faults.len() as u64;
                    self.effort.left.store(left, Ordering::Relaxed);
                    return Some((first + n, found));
                }
            }
            first += batch.len();
        }
        None
    }

    fn try_one(&self, faults: &[Named], chosen: &[Named]) -> Option<Found> {
        self.effort.runs.fetch_add(1, Ordering::Relaxed);
        let report = self.scenario.run(self.decisions(faults, chosen).setup());
        let violation = report.outcome.as_ref().err()?;
        (Signature::of(violation) == self.signature).then(|| {
            let unasked: Vec<Named> = report.unasked(chosen).cloned().collect();
            let asked = |d: &&Named| !unasked.contains(d);
            Found {
                faults: faults_of(&report),
                chosen: chosen.iter().filter(asked).cloned().collect(),
                report,
            }
        })
    }

    /// Without all bad things of a class at once.
    fn without_classes(&self, mut found: Found) -> Found {
        let classes: BTreeSet<String> = found
            .faults
            .iter()
            .filter_map(|d| class_of(&d.stream).map(str::to_owned))
            .collect();
        for class in classes {
            let other = |d: &&Named| class_of(&d.stream) != Some(&class);
            let rest: Vec<Named> = found.faults.iter().filter(other).cloned().collect();
            if rest.len() < found.faults.len() {
                let tried = self.try_all(vec![(rest, found.chosen.clone())]);
                found = tried.map_or(found, |(_, smaller)| smaller);
            }
        }
        found
    }

    /// Zeller's ddmin, down to single ones.
    fn ddmin(&self, mut found: Found) -> Found {
        let mut parts = 2;
        while !found.faults.is_empty() && !self.effort.is_spent() {
            let len = found.faults.len();
            parts = parts.min(len);
            let bounds = |part: usize| (part * len / parts, (part + 1) * len / parts);
            let mut candidates = Vec::new();
            if parts == 2 {
                candidates.push((Vec::new(), found.chosen.clone()));
            }
            for part in 0..parts {
                let (from, to) = bounds(part);
                let subset = found.faults.get(from..to).unwrap_or_default();
                if parts > 2 || len > 1 {
                    candidates.push((subset.to_vec(), found.chosen.clone()));
                }
            }
            let subsets = candidates.len();
            for part in (0..parts).filter(|_| parts > 2) {
                let (from, to) = bounds(part);
                let before = found.faults.get(..from).unwrap_or_default();
                let behind = found.faults.get(to..).unwrap_or_default();
                candidates.push(([before, behind].concat(), found.chosen.clone()));
            }
            match self.try_all(candidates) {
                Some((at, smaller)) if smaller.faults.len() < len => {
                    found = smaller;
                    parts = if at < subsets { 2 } else { (parts - 1).max(2) };
                }
                Some(_) | None if parts == len => break,
                Some(_) | None => parts = (parts * 2).min(len),
            }
        }
        found
    }

    /// Without any two at once, where there are few.
    fn without_pairs(&self, mut found: Found) -> Found {
        loop {
            let len = found.faults.len();
            if !(2..=PAIRS_MAX).contains(&len) || self.effort.is_spent() {
                return found;
            }
            let pairs = (0..len).flat_map(|a| (a + 1..len).map(move |b| (a, b)));
            let without = |(a, b): (usize, usize)| {
                let all = found.faults.iter().enumerate();
                let rest = all.filter(|(n, _)| *n != a && *n != b);
                let rest = rest.map(|(_, d)| d.clone()).collect();
                (rest, found.chosen.clone())
            };
            match self.try_all(pairs.map(without).collect()) {
                Some((_, smaller)) if smaller.faults.len() < len => found = smaller,
                Some(_) | None => return found,
            }
        }
    }

    /// Without peers that could stay away: all but one of a host, else one after the other.
    fn without_peers(&self, mut found: Found) -> Found {
        for (absent, count) in found.report.peers.clone() {
            let all = match count {
                0 | 1 => continue,
                64.. => u64::MAX,
                count => (1 << count) - 1,
            };
            let with = |found: &Found, mask: u64| {
                let mut chosen = found.chosen.clone();
                chosen.retain(|d| d.stream != absent.stream);
                chosen.push(Named {
                    choice: mask,
                    ..absent.clone()
                });
                (found.faults.clone(), chosen)
            };
            let bits = || (0..count.min(64)).map(|n| 1_u64 << n);
            if absent.choice.count_ones() + 1 >= all.count_ones() {
                continue;
            }
            let but_one = bits().map(|bit| with(&found, all & !bit)).collect();
            if let Some((_, smaller)) = self.try_all(but_one) {
                found = smaller;
                continue;
            }
            let mut mask = absent.choice;
            for bit in bits().filter(|bit| absent.choice & bit == 0) {
                if let Some((_, smaller)) = self.try_all(vec![with(&found, mask | bit)]) {
                    found = smaller;
                    mask |= bit;
                }
            }
        }
        found
    }

    /// With shorter times: none at all, else the shortest that is found by halving.
    fn with_simple_values(&self, mut found: Found) -> Found {
        let times = found.report.times.clone();
        for time in times.into_iter().take(TIMES_MAX) {
            let set = |found: &Found, choice: u64| {
                let mut chosen = found.chosen.clone();
                chosen.retain(|d| (&d.stream, d.nth) != (&time.stream, time.nth));
                chosen.push(Named {
                    choice,
                    ..time.clone()
                });
                self.try_all(vec![(found.faults.clone(), chosen)])
            };
            let (mut low, mut high) = (0, time.choice);
            let mut next = 0;
            while low < high && !self.effort.is_spent() {
                match set(&found, next) {
                    Some((_, simpler)) => {
                        found = simpler;
                        high = next;
                    }
                    None => low = next + 1,
                }
                next = low.midpoint(high);
            }
        }
        found
    }
}
