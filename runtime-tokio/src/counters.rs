//! What the runtime counts, and where the machines' own totals are kept.
use sansbox_engine::{counters::Counters as Served, machine::Stage, record::Record};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A snapshot, summed over the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// UDP clients served.
    pub associations: u64,
    /// Sessions and associations that run now.
    pub open: u64,
    /// Pauses of accepting for want of files or memory.
    pub accept_pauses: u64,
    /// Outbound connections begun.
    pub dials: u64,
    /// Lookups begun.
    pub lookups: u64,
    /// Datagrams that were dropped because a queue, the table of clients or a socket was full.
    pub datagrams_dropped: u64,
    /// Bytes that passthrough relays moved through a buffer.
    pub copied: u64,
    /// Bytes that passthrough relays moved through a kernel pipe.
    pub spliced: u64,
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: Counter,
    pub(crate) associations: Counter,
    pub(crate) ended: Counter,
    pub(crate) accept_pauses: Counter,
    pub(crate) dials: Counter,
    pub(crate) lookups: Counter,
    pub(crate) datagrams_dropped: Counter,
    pub(crate) copied: Counter,
    pub(crate) spliced: Counter,
    /// Only its worker writes, so the lock is free unless somebody looks.
    served: Mutex<Served>,
}

/// One live counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Tally {
    /// Counts what a machine reports.
    pub(crate) fn count(&self, record: &Record, stage: Stage) {
        if matches!(stage, Stage::Refused(_) | Stage::Closed) {
            let served = self.served.lock();
            let mut served = served.unwrap_or_else(PoisonError::into_inner);
            served.count(record, stage);
        }
    }

    pub(crate) fn add_served_to(&self, sum: &mut Served) {
        let served = self.served.lock();
        sum.merge(&served.unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn add_to(&self, sum: &mut Counters) {
        // Ended first: one that ends in between must not make `open` negative.
        let ended = self.ended.value();
        let (accepted, associations) = (self.accepted.value(), self.associations.value());
        sum.accepted += accepted;
        sum.associations += associations;
        sum.open += (accepted + associations).saturating_sub(ended);
        sum.accept_pauses += self.accept_pauses.value();
        sum.dials += self.dials.value();
        sum.lookups += self.lookups.value();
        sum.datagrams_dropped += self.datagrams_dropped.value();
        sum.copied += self.copied.value();
        sum.spliced += self.spliced.value();
    }
}
