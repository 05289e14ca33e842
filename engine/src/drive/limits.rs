//! How many at a time, how long to pause when there are too many, and when to ask for signs of life.
use crate::config::model::Listen;
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// First pause after accepting failed for want of something; doubles with each failure.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// When the kernel probes whether a silent peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
}

impl Default for KeepAlive {
    /// As in sing-box.
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(10),
            interval: Duration::from_secs(75),
        }
    }
}

impl KeepAlive {
    /// For the connections of a listener, which may be configured.
    #[must_use]
    pub fn of(listen: &Listen) -> Self {
        let usual = Self::default();
        Self {
            idle: listen.tcp_keep_alive.unwrap_or(usual.idle),
            interval: listen.tcp_keep_alive_interval.unwrap_or(usual.interval),
        }
    }
}

/// How long a listener pauses when accepting fails for want of files or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    next: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { next: PAUSE_MIN }
    }
}

impl BackOff {
    /// Accepting failed again: pause for so long.
    pub const fn pause(&mut self) -> Duration {
        let pause = self.next;
        let doubled = pause.saturating_mul(2);
        self.next = match doubled.as_nanos() < PAUSE_MAX.as_nanos() {
            true => doubled,
            false => PAUSE_MAX,
        };
        pause
    }

    /// Accepting went well.
    pub const fn reset(&mut self) {
        self.next = PAUSE_MIN;
    }
}

/// Places for machines, shared by all threads.
#[derive(Debug)]
pub struct Places {
    /// `None`: no limit.
    free: Option<AtomicUsize>,
}

impl Places {
    /// At most `limit` at a time; no limit when absent.
    #[must_use]
    pub const fn new(limit: Option<usize>) -> Self {
        Self {
            free: match limit {
                Some(limit) => Some(AtomicUsize::new(limit)),
                None => None,
            },
        }
    }

    /// Takes a place if one is free.
    pub fn try_take(&self) -> bool {
        self.free.as_ref().is_none_or(|free| {
            let taken =
                free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
            taken.is_ok()
        })
    }

    /// Gives a place back. True when somebody may wait for it.
    pub fn give_back(&self) -> bool {
        self.free.as_ref().is_some_and(|free| {
            free.fetch_add(1, Ordering::AcqRel);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_again() {
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..6).map(|_| back_off.pause().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        back_off.reset();
        assert_eq!(back_off.pause(), PAUSE_MIN);
    }

    #[test]
    fn a_place_is_taken_once() {
        let places = Places::new(Some(1));
        assert!(places.try_take());
        assert!(!places.try_take());
        assert!(places.give_back());
        assert!(places.try_take());
        let endless = Places::new(None);
        assert!((0..1000).all(|_| endless.try_take()));
        assert!(!endless.give_back());
    }
}
