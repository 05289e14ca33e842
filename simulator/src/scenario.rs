//! Scenarios: worlds with a name, and how to run them.
use crate::{
    World,
    check::{Invariant, Marks, Violation},
    quic::Capture,
    rng::{Choice, Named},
    scenarios,
    transcript::{Entry, Place},
    world::Setup,
};
use core::{fmt, net::IpAddr};
use sansbox_core::Instant;
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How a run ended.
pub type Verdict = Result<(), Violation>;

/// One behaviour, shown in a world of its own.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, unique.
    pub name: &'static str,
    /// One sentence that says what must hold.
    pub about: &'static str,
    /// What must happen at least once over many seeds.
    pub marks: &'static [&'static str],
    /// Fills an empty world and runs it.
    pub body: fn(&mut World) -> Verdict,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scenario({})", self.name)
    }
}

/// What one run of a scenario gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// SHA-256 over all that crossed between hosts, machines and network.
    pub digest: [u8; 32],
    /// When the last event happened.
    pub virtual_time: Instant,
    /// Events handled.
    pub events: u64,
    /// Random choices made.
    pub decisions: usize,
    /// The bad things that happened by chance, in order.
    pub hazards: Vec<Named>,
    /// Which scripts of a host stay away, as a choice, and how many it has.
    pub peers: Vec<(Named, u64)>,
    /// What bytes decided.
    pub decided: Vec<Named>,
    /// How long bad things took.
    pub times: Vec<Named>,
    /// What happened at least once.
    pub marks: Marks,
    /// How often each stream was drawn from, where choices were made in a stream's place.
    drawn: BTreeMap<Box<str>, u32>,
    /// The first broken invariant, if one was.
    pub outcome: Verdict,
    /// The names of the hosts.
    pub hosts: Vec<String>,
    /// The addresses of each host.
    pub addresses: Vec<Vec<IpAddr>>,
    /// The names of the hops: site, kind and place.
    pub hops: Vec<String>,
    /// What crossed, where it was kept.
    pub entries: Vec<Entry>,
    /// Secrets and logs of encrypted connections, where entries were kept.
    pub capture: Capture,
}

impl Report {
    /// Which of these choices nobody asked for: the run went another way.
    pub fn unasked<'a>(&'a self, made: &'a [Named]) -> impl Iterator<Item = &'a Named> {
        let drawn = |d: &&Named| self.drawn.get(&d.stream).copied().unwrap_or_default();
        made.iter().filter(move |d| d.nth >= drawn(d))
    }

    /// What crossed, as text.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let told = self.entries.iter().filter(|entry| !entry.is_sketch);
        told.map(|entry| {
            let hop;
            let place = match entry.place {
                Place::Host(host) => self.hosts.get(host.0 as usize).map_or("", String::as_str),
                Place::World => "world",
                Place::Hop(number) => {
                    hop = format!("hop {number}");
                    &hop
                }
            };
            entry.line(place)
        })
    }
}

impl Scenario {
    /// Runs it. A panic is a broken invariant where panics unwind.
    #[must_use]
    pub fn run(&self, setup: Setup) -> Report {
        let overridden = setup.source.overrides.keys();
        let overridden: BTreeSet<Box<str>> = overridden.map(|(name, _)| name.clone()).collect();
        let mut world = World::with(setup);
        let body = AssertUnwindSafe(|| (self.body)(&mut world));
        let outcome = catch_unwind(body).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Err(Violation {
                at: world.now(),
                host: "world".into(),
                invariant: Invariant::NoPanic,
                detail: said.unwrap_or("no message").into(),
            })
        });
        Report {
            digest: world.digest(),
            virtual_time: world.now(),
            events: world.events(),
            decisions: world.decisions().len(),
            hazards: world.named(|_, d| d.kind == Choice::Hazard && d.choice > 0),
            peers: world.peers(),
            decided: world.decided(),
            times: world.named(|name, d| name.starts_with("fault/") && d.kind == Choice::Value),
            marks: world.marks().clone(),
            drawn: world.drawn(overridden),
            outcome,
            hosts: world.host_names(),
            addresses: world.host_addresses(),
            hops: world.hop_names(),
            entries: world.entries().to_vec(),
            capture: world.capture(),
        }
    }
}

/// All scenarios, in the order of their files.
#[must_use]
pub fn all() -> Vec<Scenario> {
    scenarios::GROUPS
        .iter()
        .copied()
        .flatten()
        .copied()
        .collect()
}

/// Scenarios with planted bugs, to try the tools on.
#[must_use]
pub fn planted() -> Vec<Scenario> {
    let groups = scenarios::HIDDEN.iter().copied();
    groups.flatten().copied().collect()
}

/// The scenario called `name`, be it planted or not.
#[must_use]
pub fn find(name: &str) -> Option<Scenario> {
    let mut known = all().into_iter().chain(planted());
    known.find(|scenario| scenario.name == name)
}

/// Names that resemble `name`, the nearest first, at most three.
#[must_use]
pub fn near(name: &str) -> Vec<&'static str> {
    let mut scored: Vec<(usize, &'static str)> = all()
        .iter()
        .map(|scenario| {
            let is_part = scenario.name.contains(name) || name.contains(scenario.name);
            let distance = distance(name.as_bytes(), scenario.name.as_bytes());
            (if is_part { 0 } else { distance }, scenario.name)
        })
        .filter(|(distance, other)| *distance <= other.len() / 2)
        .collect();
    scored.sort_unstable();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            *cell = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            diagonal = above;
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
pub(crate) fn check(name: &str) {
    /// Seeds that every scenario's test runs.
    const SEEDS: u64 = 8;
    let scenario = find(name).expect("registered");
    for seed in 0..SEEDS {
        let report = scenario.run(Setup {
            seed,
            ..Setup::default()
        });
        if let Err(violation) = report.outcome {
            panic!("{violation}\nsansbox-sim run {name} --seed {seed} --trace");
        }
    }
    let twice = [false, true].map(|keeps_entries| {
        scenario.run(Setup {
            keeps_entries,
            ..Setup::default()
        })
    });
    assert_eq!(twice[0].digest, twice[1].digest, "{name} does not replay");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_scenario_says_what_it_is_about() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.len() >= 25, "{} scenarios", all.len());
        for scenario in all {
            let about = scenario.about.trim();
            assert!(
                about.ends_with('.') && about.len() > 20,
                "{scenario:?}: {about}"
            );
        }
    }

    #[test]
    fn distances_are_levenshtein() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_mistyped_name_finds_its_like() {
        let first = all()[0].name;
        let mistyped = first.replacen(['e', 'o'], "x", 1);
        assert!(near(&mistyped).contains(&first), "{mistyped}");
        assert!(near("qqqqqqqqqqqqqqqqqqqqqqqqq").is_empty());
    }
}
