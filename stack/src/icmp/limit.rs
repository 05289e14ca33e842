//! How many errors are sent.
use super::{Drop, ERRORS_BURST, ERRORS_PER_SECOND, TOO_BIG_RECENT_MAX};
use core::net::IpAddr;
use core::time::Duration;
use sansbox_core::Instant;
use std::collections::VecDeque;

/// One error, when [`ERRORS_PER_SECOND`] are sent evenly.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / ERRORS_PER_SECOND);
/// How far ahead of an even pace a burst may be.
const TOLERANCE: Duration =
    Duration::from_nanos(1_000_000_000 / ERRORS_PER_SECOND * (ERRORS_BURST - 1));
/// How often the same packet too big is said.
const TOO_BIG_INTERVAL: Duration = Duration::from_secs(1);

type TooBig = (IpAddr, IpAddr, u16);

/// A bucket for all errors, and a memory of packets too big.
#[derive(Debug)]
pub struct RateLimit {
    /// When the errors sent so far would be over at an even pace.
    paid_until: Instant,
    /// Oldest first.
    recent: VecDeque<(TooBig, Instant)>,
}

impl RateLimit {
    /// A full bucket.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            paid_until: Instant::ZERO,
            recent: VecDeque::new(),
        }
    }

    /// Allows one error. `too_big` has source, destination and MTU of a packet too big.
    ///
    /// # Errors
    /// [`Drop::RateLimited`] or [`Drop::TooBigRepeated`].
    pub fn take(&mut self, now: Instant, too_big: Option<TooBig>) -> Result<(), Drop> {
        if let Some(what) = too_big {
            while let Some((_, said)) = self.recent.front()
                && now >= *said + TOO_BIG_INTERVAL
            {
                self.recent.pop_front();
            }
            if self.recent.iter().any(|(said, _)| *said == what) {
                return Err(Drop::TooBigRepeated);
            }
        }
        let start = self.paid_until.max(now);
        if start.saturating_duration_since(now) > TOLERANCE {
            return Err(Drop::RateLimited);
        }
        self.paid_until = start + INTERVAL;
        if let Some(what) = too_big {
            if self.recent.len() >= TOO_BIG_RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back((what, now));
        }
        Ok(())
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}
