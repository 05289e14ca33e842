//! Other causes of the same failure: what cannot be made smaller step by step may still be the
//! long way round.
use super::{Search, tries::Found};
use crate::{explore::swarm::class_of, rng::Named};
use core::sync::atomic::Ordering;
use std::collections::BTreeSet;

/// Of so few bad things no other cause is looked for.
const FEW: usize = 2;
/// Runs after which no other cause is looked for any more.
const RUNS_MAX: u64 = 1_000;

/// What the search begins without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Without {
    Class(String),
    One(Named),
}

impl Without {
    fn keeps(&self, fault: &Named) -> bool {
        match self {
            Self::Class(class) => class_of(&fault.stream) != Some(class),
            Self::One(one) => fault != one,
        }
    }
}

impl Search<'_> {
    /// With another cause, as long as that is smaller.
    pub(super) fn with_other_causes(&self, mut found: Found, whole: &Found) -> Found {
        let runs_max = self.effort.runs.load(Ordering::Relaxed) + RUNS_MAX;
        let is_enough = |found: &Found| {
            let runs = self.effort.runs.load(Ordering::Relaxed);
            found.faults.len() <= FEW || runs >= runs_max || self.effort.is_spent()
        };
        let mut tried = BTreeSet::new();
        while !is_enough(&found) {
            let untried = parts(&found).find(|part| !tried.contains(part));
            let Some(without) = untried else {
                return found;
            };
            found = self.begun_without(found, whole, &without);
            tried.insert(without);
        }
        found
    }

    /// The smaller of what is found and what is left when the search begins again without a part
    /// of that.
    fn begun_without(&self, found: Found, whole: &Found, without: &Without) -> Found {
        let rest = whole.faults.iter().filter(|fault| without.keeps(fault));
        let candidate = (rest.cloned().collect(), whole.chosen.clone());
        let Some((_, other)) = self.try_all(vec![candidate]) else {
            return found;
        };
        let other = self.small(other);
        if other.size() < found.size() {
            other
        } else {
            found
        }
    }
}

/// What a run could do without: classes first.
fn parts(found: &Found) -> impl Iterator<Item = Without> {
    let classes = found.faults.iter().filter_map(|d| class_of(&d.stream));
    let classes = classes.map(|class| Without::Class(class.to_owned()));
    classes.chain(found.faults.iter().cloned().map(Without::One))
}
