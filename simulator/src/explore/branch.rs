//! When did a failure become inevitable? A run is repeated up to a moment and goes on from there
//! as with many other seeds; the share of them that fail, against the moment, rises where the
//! cause is.
use super::{Decisions, decisions::Signature};
use crate::scenario::Scenario;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use sansbox_core::Seed;
use std::thread;

/// How the branches of one moment ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Failed as the run itself does; where that passes, in any way.
    pub failed: u64,
    /// Failed in another way.
    pub otherwise: u64,
    /// Passed.
    pub passed: u64,
}

impl Ends {
    /// All branches.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.failed + self.otherwise + self.passed
    }
}

/// How the run itself ends: its signature, if it fails, and when.
#[must_use]
pub fn trunk(scenario: Scenario, run: &Decisions) -> (Option<Signature>, Duration) {
    let report = scenario.run(run.setup());
    let signature = report.outcome.as_ref().err().map(Signature::of);
    (
        signature,
        Duration::from_nanos(report.virtual_time.as_nanos()),
    )
}

/// Runs so many branches that leave the run at a moment.
#[must_use]
pub fn branch(
    scenario: Scenario,
    run: &Decisions,
    signature: Option<&Signature>,
    (at, branches): (Duration, u64),
    threads: usize,
) -> Ends {
    let next = AtomicU64::new(0);
    let work = || {
        let mut ends = Ends::default();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= branches {
                return ends;
            }
            let mut branched = run.clone();
            branched.branch = Some((at, branch_seed(run.seed, n)));
            let report = scenario.run(branched.setup());
            match report.outcome.as_ref().err().map(Signature::of) {
                None => ends.passed += 1,
                Some(got) if signature.is_none_or(|s| got == *s) => ends.failed += 1,
                Some(_) => ends.otherwise += 1,
            }
        }
    };
    let parts: Vec<Ends> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join());
        done.map(|part| part.expect("runs catch what they panic with"))
            .collect()
    });
    parts.iter().fold(Ends::default(), |sum, part| Ends {
        failed: sum.failed + part.failed,
        otherwise: sum.otherwise + part.otherwise,
        passed: sum.passed + part.passed,
    })
}

/// The seed of the n-th branch.
#[must_use]
pub fn branch_seed(seed: u64, n: u64) -> u64 {
    let derived = Seed::from_u64(seed).derive_nth("branch", n).bytes();
    derived
        .iter()
        .take(8)
        .fold(0, |out, byte| (out << 8) | u64::from(*byte))
}
