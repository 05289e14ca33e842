//! Clocks of hosts: each may be ahead, and run fast or slow.
use core::time::Duration;
use sansbox_core::Instant;

const MILLION: i128 = 1_000_000;

/// A host's monotonic clock against the world's: linear from a point on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// A time of the world, and what the host's clock showed then.
    from: (Instant, Instant),
    /// How much faster it runs, in millionths; above -1,000,000.
    drift: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            from: (Instant::ZERO, Instant::ZERO),
            drift: 0,
        }
    }
}

fn nanos(at: Instant) -> i128 {
    i128::from(at.as_nanos())
}

fn instant(nanos: i128) -> Instant {
    Instant::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

impl Clock {
    /// It shows the time of the world.
    const fn is_true(&self) -> bool {
        self.from.1.as_nanos() == 0
    }

    const fn speed(&self) -> i128 {
        MILLION + self.drift as i128
    }

    /// What the host's clock shows at a time of the world.
    pub(crate) fn shows(&self, world: Instant) -> Instant {
        if self.is_true() {
            return world;
        }
        let passed = nanos(world) - nanos(self.from.0);
        instant(nanos(self.from.1) + (passed * self.speed()).div_euclid(MILLION))
    }

    /// When, in the world, the host's clock shows at least `host`.
    pub(crate) fn when(&self, host: Instant) -> Instant {
        if self.is_true() {
            return host;
        }
        let ahead = nanos(host) - nanos(self.from.1);
        let scaled = ahead * MILLION;
        let speed = self.speed();
        let passed = scaled.div_euclid(speed) + i128::from(scaled.rem_euclid(speed) != 0);
        instant(nanos(self.from.0) + passed)
    }

    /// From now on it is so much further ahead.
    pub(crate) fn jump(&mut self, world: Instant, ahead: Duration) {
        self.from = (world, self.shows(world) + ahead);
    }

    /// From now on it runs so much faster, in millionths; at least half as fast as the world's,
    /// and at most twice.
    pub(crate) fn set_drift(&mut self, world: Instant, millionths: i32) {
        self.from = (world, self.shows(world).max(Instant::from_nanos(1)));
        self.drift = i64::from(millionths.clamp(-500_000, 1_000_000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_come_when_the_world_says_so_and_not_before() {
        let at = Instant::from_nanos;
        for drift in [-500_000, -333_333, -1, 0, 7, 250_000, 1_000_000] {
            let mut clock = Clock::default();
            clock.jump(at(1000), Duration::from_nanos(500));
            clock.set_drift(at(2000), drift);
            for host in [2500, 2501, 3333, 10_000, 1_000_007] {
                let when = clock.when(at(host));
                assert!(clock.shows(when) >= at(host), "{drift} {host}");
                let before = at(when.as_nanos() - 1);
                assert!(clock.shows(before) < at(host), "{drift} {host}");
            }
        }
    }

    #[test]
    fn it_jumps_and_drifts_and_never_goes_back() {
        let at = Instant::from_nanos;
        let mut clock = Clock::default();
        assert_eq!(clock.shows(at(77)), at(77));
        clock.jump(at(100), Duration::from_nanos(50));
        assert_eq!(clock.shows(at(100)), at(150));
        clock.set_drift(at(200), 1_000_000);
        assert_eq!(clock.shows(at(200)), at(250));
        assert_eq!(clock.shows(at(300)), at(450));
    }
}
