//! How many datagrams of preambles a source may send: WireGuard's token buckets, in a bounded
//! table.
use super::table::Table;
use sansbox_core::Instant;
use std::{net::IpAddr, time::Duration};

/// Datagrams of preambles from one IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Each second.
    pub per_second: u32,
    /// At once; 0 for 5. A whole preamble must fit.
    pub burst: u32,
}

impl RateLimit {
    const BURST_DEFAULT: u32 = 5;
    /// A bucket that was left alone for so long is as good as none.
    const IDLE: Duration = Duration::from_secs(1);
}

#[derive(Debug)]
pub(super) struct Limiter {
    /// What a datagram costs, in nanoseconds.
    cost: u64,
    full: u64,
    /// As in the Go server: see [`super::Rules::strict_limit`].
    is_strict: bool,
    buckets: Table<IpAddr, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled_at: Instant,
}

impl Limiter {
    /// `None` when nothing is limited.
    pub(super) fn new(limit: RateLimit, sources_max: usize, is_strict: bool) -> Option<Self> {
        let cost = 1_000_000_000_u64.checked_div(u64::from(limit.per_second))?;
        let burst = match limit.burst {
            0 => RateLimit::BURST_DEFAULT,
            burst => burst,
        };
        Some(Self {
            cost,
            full: cost * u64::from(burst),
            is_strict,
            buckets: Table::new(sources_max, Duration::ZERO),
        })
    }

    /// May `source` send one more? A burst of N means N at once, also where time stands still,
    /// unless the limiter is strict.
    pub(super) fn allows(&mut self, now: Instant, source: IpAddr) -> bool {
        let full = self.full;
        let Some(bucket) = self.buckets.touch(now, source) else {
            let bucket = Bucket {
                tokens: full - self.cost,
                filled_at: now,
            };
            self.buckets.insert(now, source, bucket);
            return true;
        };
        let passed = now.saturating_duration_since(bucket.filled_at);
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        bucket.tokens = bucket.tokens.saturating_add(passed).min(full);
        bucket.filled_at = now;
        let left = bucket.tokens.checked_sub(self.cost);
        let left = left.filter(|left| *left > 0 || !self.is_strict);
        bucket.tokens = left.unwrap_or(bucket.tokens);
        left.is_some()
    }

    pub(super) fn expiry(&self) -> Option<Instant> {
        self.buckets.expiry(self.idle())
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let idle = self.idle();
        self.buckets.expire(now, idle);
    }

    /// Until a bucket is full again, but no less than WireGuard's second.
    fn idle(&self) -> Duration {
        if self.is_strict {
            return RateLimit::IDLE;
        }
        Duration::from_nanos(self.full).max(RateLimit::IDLE)
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }
}
