//! Many seeds of many scenarios, on many threads and many machines.
//!
//! A sweep is cut into shards by seed; the result of a shard is a JSON file, and results merge in
//! any order to what one sweep over all seeds would have said.
use super::{Decisions, decisions::Signature, swarm, swarm::Swarm};
use crate::{
    check::Marks,
    scenario::{Report, Scenario},
    world::Setup,
};
use core::{
    fmt,
    ops::Range,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, thread};

/// What every result begins with.
const FORMAT: &str = "sansbox-sweep-1";
/// Failures of one scenario with one signature that are kept; further ones are counted.
const FAILURES_KEPT: usize = 5;

/// One of so many parts of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shard {
    /// Which, from 1.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl Shard {
    /// The whole.
    pub const WHOLE: Self = Self { index: 1, of: 1 };
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parsed = parts.and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((index, of)) if 1 <= index && index <= of => Ok(Self { index, of }),
            _ => Err(format!("{text:?} is no shard: I/N with 1 <= I <= N is one")),
        }
    }
}

/// What is swept.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Which scenarios.
    pub scenarios: Vec<Scenario>,
    /// Which seeds of each.
    pub seeds: Range<u64>,
    /// Which part of them.
    pub shard: Shard,
    /// With which faults.
    pub swarm: Option<Swarm>,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Its scenario.
    pub scenario: String,
    /// What makes it the same as others.
    pub signature: Signature,
    /// Its seed.
    pub seed: u64,
    /// What was seen.
    pub detail: String,
    /// How many bad things happened in it.
    pub hazards: u64,
    /// Runs it again.
    pub command: String,
}

/// What a sweep, or some shards of it, gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    format: String,
    /// Version of the program.
    pub version: String,
    /// First seed, and the one behind the last.
    pub seeds: (u64, u64),
    /// With which faults: preset and milliseconds until they stop.
    pub swarm: Option<(String, u64)>,
    /// Which shards are in here.
    pub shards: Vec<Shard>,
    /// Was it ended before its last seed?
    pub cut_short: bool,
    /// Runs of each scenario.
    pub runs: BTreeMap<String, u64>,
    /// Runs that failed, by scenario and signature.
    pub failed: BTreeMap<String, BTreeMap<String, u64>>,
    /// The first failures of each kind.
    pub failures: Vec<Failure>,
    /// How often each mark was hit, by scenario.
    pub marks: BTreeMap<String, BTreeMap<String, u64>>,
    /// In how many runs each class of faults struck.
    pub classes: BTreeMap<String, u64>,
    /// Events handled.
    pub events: u64,
    /// Virtual time, in milliseconds.
    pub virtual_ms: u64,
    /// Wall-clock time, in milliseconds, of all shards together.
    pub wall_ms: u64,
}

/// Why results do not merge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No JSON, or not of this form.
    #[error("no result of a sweep: {0}")]
    Damaged(String),
    /// JSON of another kind or version.
    #[error("a result begins with \"format\": \"{FORMAT}\", this one says {0:?}")]
    Format(String),
    /// They are not of one sweep.
    #[error("results of different sweeps: {what} is {one} in one and {other} in another")]
    Different {
        /// What differs.
        what: &'static str,
        /// In what came first.
        one: String,
        /// In what came then.
        other: String,
    },
    /// The same shard came twice.
    #[error("shard {0} comes twice")]
    Twice(Shard),
}

/// How far a sweep is, while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Runs done.
    pub runs: AtomicU64,
    /// Runs that failed.
    pub failed: AtomicU64,
}

impl Sweep {
    /// How many runs this shard has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.seed_count()
            .saturating_mul(self.scenarios.len() as u64)
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First seed of this shard.
    const fn first(&self) -> u64 {
        let behind = self.seeds.start % self.shard.of;
        let wanted = self.shard.index - 1;
        self.seeds.start + (wanted + self.shard.of - behind) % self.shard.of
    }

    fn seed_count(&self) -> u64 {
        let left = self.seeds.end.saturating_sub(self.first());
        left.div_ceil(self.shard.of)
    }

    /// The n-th run: scenarios take turns, so that a sweep cut short has seen them all.
    fn job(&self, n: u64) -> Option<(Scenario, u64)> {
        let count = self.scenarios.len() as u64;
        let seed = self.first() + n.checked_div(count)? * self.shard.of;
        let scenario = self.scenarios.get((n % count) as usize)?;
        (seed < self.seeds.end).then_some((*scenario, seed))
    }

    /// How a run of it is set up.
    #[must_use]
    pub fn setup(&self, seed: u64) -> Setup {
        Setup {
            seed,
            swarm: self.swarm,
            ..Setup::default()
        }
    }

    /// Runs it on so many threads until it is done or `is_over` says so.
    pub fn run(
        &self,
        threads: usize,
        progress: &Progress,
        is_over: impl Fn() -> bool + Sync,
    ) -> Outcome {
        let next = AtomicU64::new(0);
        let work = || {
            let mut outcome = Outcome::new(self);
            while !is_over() {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some((scenario, seed)) = self.job(n) else {
                    return outcome;
                };
                let report = scenario.run(self.setup(seed));
                progress.runs.fetch_add(1, Ordering::Relaxed);
                let has_failed = u64::from(report.outcome.is_err());
                progress.failed.fetch_add(has_failed, Ordering::Relaxed);
                outcome.add(self, &scenario, seed, &report);
            }
            outcome.cut_short = true;
            outcome
        };
        let mut all = Outcome::new(self);
        let parts: Vec<Outcome> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let done = workers.into_iter().map(|worker| worker.join());
            done.map(|part| part.expect("a worker catches what runs panic with"))
                .collect()
        });
        for part in parts {
            all.absorb(part);
        }
        all
    }
}

impl Outcome {
    fn new(sweep: &Sweep) -> Self {
        let millis = |s: Swarm| u64::try_from(s.heal_at.as_millis()).unwrap_or(u64::MAX);
        Self {
            format: FORMAT.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            seeds: (sweep.seeds.start, sweep.seeds.end),
            swarm: sweep.swarm.map(|s| (s.preset.to_string(), millis(s))),
            shards: vec![sweep.shard],
            cut_short: false,
            runs: BTreeMap::new(),
            failed: BTreeMap::new(),
            failures: Vec::new(),
            marks: BTreeMap::new(),
            classes: BTreeMap::new(),
            events: 0,
            virtual_ms: 0,
            wall_ms: 0,
        }
    }

    fn add(&mut self, sweep: &Sweep, scenario: &Scenario, seed: u64, report: &Report) {
        let name = scenario.name.to_owned();
        *self.runs.entry(name.clone()).or_default() += 1;
        self.events += report.events;
        self.virtual_ms += report.virtual_time.as_nanos() / 1_000_000;
        self.add_marks(&name, &report.marks);
        let struck = report.hazards.iter();
        let struck = struck.filter(|d| !swarm::is_presence(&d.stream));
        let classes = struck.filter_map(|d| swarm::class_of(&d.stream));
        for class in classes.collect::<std::collections::BTreeSet<_>>() {
            *self.classes.entry(class.into()).or_default() += 1;
        }
        let Err(violation) = &report.outcome else {
            return;
        };
        let signature = Signature::of(violation);
        let decisions = Decisions::of(scenario.name, &sweep.setup(seed));
        let failure = Failure {
            scenario: name,
            seed,
            detail: violation.to_string(),
            hazards: report.hazards.len() as u64,
            command: decisions.command().unwrap_or_default(),
            signature,
        };
        let kinds = self.failed.entry(failure.scenario.clone()).or_default();
        *kinds.entry(failure.signature.to_string()).or_default() += 1;
        self.failures.push(failure);
        self.trim();
    }

    fn add_marks(&mut self, scenario: &str, marks: &Marks) {
        let of = self.marks.entry(scenario.into()).or_default();
        for (mark, n) in marks.iter() {
            *of.entry(mark.into()).or_default() += n;
        }
    }

    /// Keeps the first failures of each kind.
    fn trim(&mut self) {
        self.failures.sort();
        let mut last = None;
        let mut count = 0;
        self.failures.retain(|failure| {
            let kind = (failure.scenario.clone(), failure.signature.clone());
            count = if last.as_ref() == Some(&kind) {
                count + 1
            } else {
                1
            };
            last = Some(kind);
            count <= FAILURES_KEPT
        });
    }

    /// Adds the counts of another part.
    fn absorb(&mut self, other: Self) {
        self.cut_short |= other.cut_short;
        self.events += other.events;
        self.virtual_ms += other.virtual_ms;
        self.wall_ms += other.wall_ms;
        add_all(&mut self.runs, other.runs);
        add_all(&mut self.classes, other.classes);
        for (scenario, kinds) in other.failed {
            add_all(self.failed.entry(scenario).or_default(), kinds);
        }
        for (scenario, marks) in other.marks {
            add_all(self.marks.entry(scenario).or_default(), marks);
        }
        self.failures.extend(other.failures);
        self.trim();
    }

    /// Adds another shard of the same sweep.
    ///
    /// # Errors
    /// When it is of another sweep, or in here already.
    pub fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        let same = |what, one: String, other: String| match one == other {
            true => Ok(()),
            false => Err(MergeError::Different { what, one, other }),
        };
        let debug = |o: &Self| (format!("{:?}", o.seeds), format!("{:?}", o.swarm));
        let ((seeds, swarm), (other_seeds, other_swarm)) = (debug(self), debug(&other));
        same("the version", self.version.clone(), other.version.clone())?;
        same("the range of seeds", seeds, other_seeds)?;
        same("the swarm", swarm, other_swarm)?;
        for shard in &other.shards {
            let (one, two) = (self.shard_count(), shard.of);
            same("the number of shards", one.to_string(), two.to_string())?;
            if self.shards.contains(shard) {
                return Err(MergeError::Twice(*shard));
            }
        }
        self.shards.extend(other.shards.iter().copied());
        self.shards.sort();
        self.absorb(other);
        Ok(())
    }

    fn shard_count(&self) -> u64 {
        self.shards.first().map_or(1, |shard| shard.of)
    }

    /// Shards that are not in here.
    #[must_use]
    pub fn missing(&self) -> Vec<Shard> {
        let of = self.shard_count();
        let all = (1..=of).map(|index| Shard { index, of });
        all.filter(|shard| !self.shards.contains(shard)).collect()
    }

    /// Runs in all.
    #[must_use]
    pub fn run_count(&self) -> u64 {
        self.runs.values().sum()
    }

    /// Failed runs in all.
    #[must_use]
    pub fn failed_count(&self) -> u64 {
        let kinds = self.failed.values();
        kinds.flat_map(BTreeMap::values).sum()
    }

    /// Marks that scenarios name and that no run of theirs hit.
    #[must_use]
    pub fn unhit(&self, scenarios: &[Scenario]) -> Vec<(&'static str, &'static str)> {
        let ran = scenarios.iter().filter(|s| self.runs.contains_key(s.name));
        let hit = |scenario: &str, mark: &str| {
            let marks = self.marks.get(scenario);
            marks.is_some_and(|marks| marks.contains_key(mark))
        };
        let of = |s: &Scenario| {
            let marks = s.marks.iter().copied();
            let unhit = marks.filter(|mark| !hit(s.name, mark));
            unhit.map(|mark| (s.name, mark)).collect::<Vec<_>>()
        };
        ran.flat_map(of).collect()
    }

    /// Reads a result.
    ///
    /// # Errors
    /// When it is damaged, cut off or of another format.
    pub fn parse(text: &str) -> Result<Self, MergeError> {
        #[derive(Deserialize)]
        struct Header {
            format: String,
        }
        let damaged = |e: serde_json::Error| MergeError::Damaged(e.to_string());
        let header: Header = serde_json::from_str(text).map_err(damaged)?;
        if header.format != FORMAT {
            return Err(MergeError::Format(header.format));
        }
        serde_json::from_str(text).map_err(damaged)
    }

    /// Writes a result.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers are JSON") + "\n"
    }
}

fn add_all(to: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>) {
    for (name, n) in from {
        *to.entry(name).or_default() += n;
    }
}
