//! Runs that are tried while one is made small.
use super::Search;
use crate::{
    explore::{
        Decisions,
        decisions::Signature,
        swarm::{class_of, is_presence},
    },
    rng::Named,
    scenario::Report,
};
use core::sync::atomic::Ordering;
use std::{collections::BTreeSet, thread};

/// A run that fails as wanted, and what makes it.
#[derive(Clone)]
pub(super) struct Found {
    /// Bad things, in the order in which they happen.
    pub(super) faults: Vec<Named>,
    /// Values and absences that were chosen on the way.
    pub(super) chosen: Vec<Named>,
    pub(super) report: Report,
}

/// Bad things and other choices that a run is tried with.
pub(super) type Candidate = (Vec<Named>, Vec<Named>);

impl Found {
    /// The smaller, the better: bad things first, then whatever has to be said.
    pub(super) const fn size(&self) -> (usize, usize) {
        (self.faults.len(), self.faults.len() + self.chosen.len())
    }

    /// Its other choices without those of which peers stay away.
    pub(super) fn values(&self) -> Vec<Named> {
        let values = self.chosen.iter().filter(|d| !self.is_peers(d));
        values.cloned().collect()
    }

    pub(super) fn is_peers(&self, choice: &Named) -> bool {
        let mut peers = self.report.peers.iter();
        peers.any(|(absent, _)| absent.stream == choice.stream)
    }
}

/// The bad things that happened in a run. That a class exists counts only where nothing else
/// tells of it.
pub(super) fn faults_of(report: &Report) -> Vec<Named> {
    let struck = report.hazards.iter().filter(|d| !is_presence(&d.stream));
    let struck: BTreeSet<&str> = struck.filter_map(|d| class_of(&d.stream)).collect();
    let counts = |d: &&Named| {
        let class = class_of(&d.stream);
        !is_presence(&d.stream) || class.is_some_and(|class| !struck.contains(class))
    };
    report.hazards.iter().filter(counts).cloned().collect()
}

impl Search<'_> {
    pub(super) fn decisions(&self, faults: &[Named], chosen: &[Named]) -> Decisions {
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
    pub(super) fn try_all(&self, candidates: Vec<Candidate>) -> Option<(usize, Found)> {
        let threads = self.effort.threads.max(1);
        let mut first = 0;
        for batch in candidates.chunks(threads) {
            if self.effort.is_spent() && first > 0 {
                return None;
            }
            let found: Vec<Option<Found>> = match batch {
                [(faults, chosen)] => vec![self.try_one(faults, chosen)],
                several => thread::scope(|scope| {
                    let start = |(faults, chosen): &'_ Candidate| {
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

    /// Zeller's ddmin, down to single ones.
    pub(super) fn ddmin(
        &self,
        mut found: Found,
        items: impl Fn(&Found) -> Vec<Named>,
        with: impl Fn(&Found, Vec<Named>) -> Candidate,
    ) -> Found {
        let mut parts = 2;
        loop {
            let all = items(&found);
            let len = all.len();
            if len == 0 || self.effort.is_spent() {
                return found;
            }
            parts = parts.min(len);
            let mut candidates = Vec::new();
            if parts == 2 || len == 1 {
                candidates.push(with(&found, Vec::new()));
            }
            let (mut subsets, mut rests) = (Vec::new(), Vec::new());
            for part in 0..parts {
                let (from, to) = (part * len / parts, (part + 1) * len / parts);
                let subset = all.get(from..to).unwrap_or_default();
                let before = all.get(..from).unwrap_or_default();
                let behind = all.get(to..).unwrap_or_default();
                subsets.push(with(&found, subset.to_vec()));
                rests.push(with(&found, [before, behind].concat()));
            }
            if len > 1 {
                candidates.append(&mut subsets);
            }
            let subset_count = candidates.len();
            if parts > 2 {
                candidates.append(&mut rests);
            }
            match self.try_all(candidates) {
                Some((at, smaller)) if items(&smaller).len() < len => {
                    found = smaller;
                    parts = if at < subset_count {
                        2
                    } else {
                        (parts - 1).max(2)
                    };
                }
                Some(_) | None if parts == len => return found,
                Some(_) | None => parts = (parts * 2).min(len),
            }
        }
    }
}
