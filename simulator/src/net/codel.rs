//! Controlled delay (RFC 8289): packets that waited too long for too long are dropped, ever
//! faster, until the queue is short again.
use core::time::Duration;
use sansbox_core::Instant;

/// Octets of which one is always let through: a queue of one packet is no standing queue.
const MTU: usize = 1500;

/// What the algorithm aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codel {
    /// A wait that is fine.
    pub target: Duration,
    /// How long waits may be longer before anything is dropped: a worst round-trip time.
    pub interval: Duration,
    /// Marks packets whose ends understand it instead of dropping them.
    pub marks: bool,
}

impl Default for Codel {
    /// RFC 8289 section 4.2 and 4.3.
    fn default() -> Self {
        Self {
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
            marks: false,
        }
    }
}

/// The algorithm's variables, named as in the RFC.
#[derive(Debug, Default)]
pub(super) struct State {
    first_above_time: Option<Instant>,
    drop_next: Instant,
    count: u64,
    lastcount: u64,
    dropping: bool,
}

/// `interval / sqrt(count)` without floating point, so that it is the same everywhere.
fn control_law(interval: Duration, count: u64) -> Duration {
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    // 1/sqrt(count) in units of 2^-16: sqrt(count * 2^32) is 2^16 * sqrt(count).
    let root = (u128::from(count.max(1)) << 32).isqrt();
    let nanos = (u128::from(nanos) << 16) / root;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl State {
    /// Has the wait been too long for an interval?
    fn is_above(
        &mut self,
        codel: Codel,
        now: Instant,
        waited: Duration,
        left_octets: usize,
    ) -> bool {
        if waited < codel.target || left_octets <= MTU {
            self.first_above_time = None;
            return false;
        }
        let first = *self.first_above_time.get_or_insert(now + codel.interval);
        now >= first
    }

    /// Is a packet that leaves the queue dropped, or marked? `left_octets` stay behind it.
    pub(super) fn is_dropped(
        &mut self,
        codel: Codel,
        now: Instant,
        waited: Duration,
        left_octets: usize,
    ) -> bool {
        let is_above = self.is_above(codel, now, waited, left_octets);
        if self.dropping {
            if !is_above {
                self.dropping = false;
                return false;
            }
            if now < self.drop_next {
                return false;
            }
            self.count += 1;
            self.drop_next += control_law(codel.interval, self.count);
            return true;
        }
        if !is_above {
            return false;
        }
        self.dropping = true;
        // Soon after the last time it goes on where it stopped.
        let delta = self.count - self.lastcount;
        let is_recent = now.saturating_duration_since(self.drop_next) < codel.interval * 16;
        self.count = if delta > 1 && is_recent { delta } else { 1 };
        self.lastcount = self.count;
        self.drop_next = now + control_law(codel.interval, self.count);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_is_one_over_the_square_root() {
        let interval = Duration::from_millis(100);
        for (count, micros) in [(1, 100_000), (4, 50_000), (2, 70_710), (100, 10_000)] {
            let got = control_law(interval, count).as_micros();
            assert!(got.abs_diff(micros) <= 1, "{count}: {got}");
        }
    }

    #[test]
    fn a_standing_queue_is_dropped_from_ever_faster_and_a_burst_is_not() {
        let codel = Codel::default();
        let at = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        let bad = |state: &mut State, from, to| {
            let wait = Duration::from_millis(20);
            let drops = (from..to).filter(|ms| state.is_dropped(codel, at(*ms), wait, 9000));
            drops.collect::<Vec<u64>>()
        };
        let mut state = State::default();
        assert_eq!(bad(&mut state, 0, 100), [0; 0]);
        let drops = bad(&mut state, 100, 500);
        assert_eq!(drops.get(..4), Some(&[100, 200, 271, 329][..]), "{drops:?}");
        let short = Duration::from_millis(1);
        assert!(!state.is_dropped(codel, at(500), short, 9000));
        assert_eq!(bad(&mut state, 501, 600), [0; 0]);
    }
}
