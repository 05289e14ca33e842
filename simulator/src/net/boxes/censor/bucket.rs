//! A token bucket that makes packets wait.
use super::rule::Throttle;
use core::time::Duration;
use sansbox_core::Instant;

const NANOS: u128 = 1_000_000_000;

/// How far a throttled flow is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    throttle: Throttle,
    /// When all that was let through has flowed off at the rate.
    empty_at: Instant,
}

impl Bucket {
    pub(super) const fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            empty_at: Instant::ZERO,
        }
    }

    /// When a packet of so many bytes may go on; `None` when too many wait.
    pub(super) fn admit(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Throttle { burst, queue, .. } = self.throttle;
        let free = self.time_for(burst);
        let empty_at = self.empty_at.max(now) + self.time_for(len as u64);
        let (wait, limit) = (
            empty_at.saturating_duration_since(now + free),
            self.time_for(queue),
        );
        if wait > limit {
            return None;
        }
        self.empty_at = empty_at;
        Some(now + wait)
    }

    /// How long so many bytes take.
    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * NANOS / u128::from(self.throttle.rate.max(1));
        Duration::from_nanos(
            u64::try_from(nanos)
                .unwrap_or(u64::MAX / 4)
                .min(u64::MAX / 4),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_then_nothing() {
        let mut bucket = Bucket::new(Throttle {
            rate: 1_000,
            burst: 2_000,
            queue: 3_000,
        });
        let now = Instant::ZERO + Duration::from_secs(10);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let at = bucket.admit(now, 1_000);
            waits.push(at.map(|at| at.saturating_duration_since(now).as_secs()));
        }
        assert_eq!(waits, [Some(0), Some(0), Some(1), Some(2), Some(3), None]);
        let later = now + Duration::from_secs(100);
        assert_eq!(bucket.admit(later, 2_000), Some(later), "it fills again");
        assert_eq!(
            bucket.admit(later, 500),
            Some(later + Duration::from_millis(500))
        );
    }
}
