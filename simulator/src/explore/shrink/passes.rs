//! The ways in which a run is made smaller.
use super::{Search, tries::Found};
use crate::{
    explore::{decisions::INLINE_MAX, swarm::class_of},
    rng::Named,
};
use std::collections::BTreeSet;

/// Up to so many bad things are also tried away in pairs.
const PAIRS_MAX: usize = 16;
/// Of so many times, the longest, it is tried whether shorter ones do.
const TIMES_MAX: usize = 32;
/// A time that is decided has to make the run shorter by one part of so many.
const SHORTER: u64 = 10;

impl Search<'_> {
    /// Without all of a class at once: its bad things, and what is chosen of it.
    pub(super) fn without_classes(&self, mut found: Found) -> Found {
        let all = found.faults.iter().chain(&found.chosen);
        let classes: BTreeSet<String> = all
            .filter_map(|d| class_of(&d.stream).map(str::to_owned))
            .collect();
        for class in classes {
            let rest = |all: &[Named]| -> Vec<Named> {
                let other = |d: &&Named| class_of(&d.stream) != Some(&class);
                all.iter().filter(other).cloned().collect()
            };
            let (faults, chosen) = (rest(&found.faults), rest(&found.chosen));
            if faults.len() + chosen.len() < found.size().1 {
                let tried = self.try_all(vec![(faults, chosen)]);
                found = tried.map_or(found, |(_, smaller)| smaller);
            }
        }
        found
    }

    /// With fewer bad things.
    pub(super) fn without_faults(&self, found: Found) -> Found {
        self.ddmin(
            found,
            |found| found.faults.clone(),
            |found, faults| (faults, found.chosen.clone()),
        )
    }

    /// With fewer of the choices that came with the run and are not bad.
    pub(super) fn without_values(&self, found: Found) -> Found {
        self.ddmin(found, Found::values, |found, values| {
            let peers = found.chosen.iter().filter(|d| found.is_peers(d));
            let chosen = peers.cloned().chain(values).collect();
            (found.faults.clone(), chosen)
        })
    }

    /// Without any two at once, where there are few.
    pub(super) fn without_pairs(&self, mut found: Found) -> Found {
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

    /// Without peers that could stay away: all but one of a host, else one after the other. That
    /// is one more thing to say: a run that fits in a line has to fit in it afterwards.
    pub(super) fn without_peers(&self, mut found: Found) -> Found {
        for (absent, count) in found.report.peers.clone() {
            let all = match count {
                0 | 1 => continue,
                64.. => u64::MAX,
                count => (1 << count) - 1,
            };
            let is_new = !found.chosen.iter().any(|d| d.stream == absent.stream);
            if is_new && found.size().1 == INLINE_MAX {
                continue;
            }
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

    /// With shorter times: none at all, else the shortest that is found by halving. Each is one
    /// more thing to say: it has to make the run shorter, and all has to fit in a line.
    pub(super) fn with_short_times(&self, mut found: Found) -> Found {
        let mut times = found.report.times.clone();
        times.sort_by_key(|time| core::cmp::Reverse(time.choice));
        for time in times.into_iter().take(TIMES_MAX) {
            let is_it = |d: &Named| (&d.stream, d.nth) == (&time.stream, time.nth);
            let is_new = !found.chosen.iter().any(is_it);
            if is_new && found.size().1 >= INLINE_MAX {
                continue;
            }
            let set = |found: &Found, choice: u64| {
                let mut chosen = found.chosen.clone();
                chosen.retain(|d| !is_it(d));
                chosen.push(Named {
                    choice,
                    ..time.clone()
                });
                let tried = self.try_all(vec![(found.faults.clone(), chosen)]);
                tried.map(|(_, simpler)| simpler)
            };
            let (mut low, mut high) = (0, time.choice);
            let (mut next, mut best) = (0, None);
            while low < high && !self.effort.is_spent() {
                match set(best.as_ref().unwrap_or(&found), next) {
                    Some(simpler) => {
                        best = Some(simpler);
                        high = next;
                    }
                    None => low = next + 1,
                }
                next = low.midpoint(high);
            }
            let lasts = |found: &Found| found.report.virtual_time.as_nanos();
            let is_worth = |best: &Found| {
                let saved = lasts(&found).saturating_sub(lasts(best));
                !is_new
                    || best.size().1 <= found.size().1
                    || saved > 0 && saved >= lasts(&found) / SHORTER
            };
            found = best.filter(is_worth).unwrap_or(found);
        }
        found
    }
}
