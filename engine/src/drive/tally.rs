//! What a driver counts. The machines' own totals are [`Served`](crate::counters::Counters).
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A snapshot, summed over the threads.
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
    /// Datagrams, and errors about datagrams, that were dropped because a queue, the table of clients
    /// or a socket was full.
    pub datagrams_dropped: u64,
    /// Bytes that passthrough relays moved in user space: through a buffer between two sockets, or
    /// as segments from or to a stream of a carrier.
    pub copied: u64,
    /// Bytes that passthrough relays moved through a kernel pipe.
    pub spliced: u64,
}

/// The live counters of one thread, which others may read.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names are those of Counters")]
pub struct Tally {
    pub accepted: Counter,
    pub associations: Counter,
    /// Sessions and associations that ended.
    pub ended: Counter,
    pub accept_pauses: Counter,
    pub dials: Counter,
    pub lookups: Counter,
    pub datagrams_dropped: Counter,
    pub copied: Counter,
    pub spliced: Counter,
}

/// One live counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Tally {
    /// Adds this thread's counters.
    pub fn add_to(&self, sum: &mut Counters) {
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
