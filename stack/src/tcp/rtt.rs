//! Round-trip time and the retransmission timeout (RFC 6298).
use std::time::Duration;

use sansbox_core::Instant;

use crate::config::{RTO_MAX, RTO_MIN, RTO_START};

/// A time in microseconds that wraps after 71 minutes, for what is measured meanwhile.
pub(crate) const fn micros(now: Instant) -> u32 {
    (now.as_nanos() / 1000 % (1 << 32)) as u32
}

/// The estimate, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    /// Smoothed; 0: nothing measured.
    smoothed: u32,
    variation: u32,
}

impl Rtt {
    /// Takes one measurement of a segment that was sent once.
    pub(crate) fn sample(&mut self, trip: Duration) {
        let trip = u32::try_from(trip.as_micros())
            .unwrap_or(u32::MAX / 16)
            .max(1);
        let trip = trip.min(u32::MAX / 16);
        if self.smoothed == 0 {
            self.smoothed = trip;
            self.variation = trip / 2;
            return;
        }
        let off = self.smoothed.abs_diff(trip);
        self.variation = (3 * self.variation + off) / 4;
        self.smoothed = ((7 * self.smoothed + trip) / 8).max(1);
    }

    /// The smoothed round trip.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        (self.smoothed != 0).then(|| Duration::from_micros(u64::from(self.smoothed)))
    }

    /// The timeout after `backoff` timeouts in a row.
    pub(crate) fn timeout(&self, backoff: u8) -> Duration {
        let base = if self.smoothed == 0 {
            RTO_START
        } else {
            let micros = u64::from(self.smoothed) + 4 * u64::from(self.variation);
            Duration::from_micros(micros).max(RTO_MIN)
        };
        base.saturating_mul(1 << backoff.min(16)).min(RTO_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_rfc_6298_within_its_bounds() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(0), Duration::from_secs(1));
        rtt.sample(Duration::from_millis(400));
        assert_eq!(rtt.timeout(0), Duration::from_millis(400 + 4 * 200));
        rtt.sample(Duration::from_millis(400));
        assert_eq!(rtt.timeout(0), Duration::from_millis(400 + 4 * 150));
        assert_eq!(rtt.timeout(1), Duration::from_millis(2000));
        assert_eq!(rtt.timeout(200), RTO_MAX);
        let mut near = Rtt::default();
        near.sample(Duration::from_micros(50));
        assert_eq!(near.timeout(0), RTO_MIN);
        near.sample(Duration::MAX);
        assert!(near.timeout(0) <= RTO_MAX);
    }
}
