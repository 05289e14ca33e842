//! Lines as they were recorded: times at which a packet could go, in the format of mahimahi
//! (`mm-link`): one line per opportunity of 1500 octets, its time in milliseconds since the start,
//! and from the beginning again behind the last.
use core::{fmt, time::Duration};
use sansbox_core::Instant;
use std::sync::Arc;

/// Octets of one opportunity.
const OPPORTUNITY_LEN: usize = 1500;
/// Most opportunities of one trace.
pub const OPPORTUNITIES_MAX: usize = 10_000_000;

/// What is wrong with a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceError {
    /// A line is no number of milliseconds.
    NotANumber {
        /// Which, from 1.
        line: usize,
    },
    /// A time before the one of the line above.
    Backwards {
        /// Which line, from 1.
        line: usize,
    },
    /// No opportunity, or all of them at time zero: the line would never, or at once, carry
    /// everything.
    NoTime,
    /// More than [`OPPORTUNITIES_MAX`].
    TooLong,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber { line } => write!(f, "line {line} is no number of milliseconds"),
            Self::Backwards { line } => write!(f, "line {line} is earlier than the one above"),
            Self::NoTime => f.write_str("a trace must end later than it begins"),
            Self::TooLong => write!(f, "more than {OPPORTUNITIES_MAX} lines"),
        }
    }
}

impl std::error::Error for TraceError {}

/// A recorded line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Milliseconds, ascending.
    times: Arc<[u64]>,
}

impl Trace {
    /// Reads the format of mahimahi; empty lines do not count.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut times: Vec<u64> = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line_number = n + 1;
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let bad = |_| TraceError::NotANumber { line: line_number };
            let time: u64 = line.parse().map_err(bad)?;
            if times.last().is_some_and(|last| *last > time) {
                return Err(TraceError::Backwards { line: line_number });
            }
            if times.len() == OPPORTUNITIES_MAX {
                return Err(TraceError::TooLong);
            }
            times.push(time);
        }
        match times.last() {
            None | Some(0) => Err(TraceError::NoTime),
            Some(_) => Ok(Self {
                times: times.into(),
            }),
        }
    }

    /// When the n-th opportunity is, counted on through all repetitions.
    fn at(&self, n: u64) -> Instant {
        let len = self.times.len() as u64;
        let period = self.times.last().copied().unwrap_or(1);
        let time = self.times.get((n % len) as usize).copied().unwrap_or(0);
        let millis = (n / len).saturating_mul(period).saturating_add(time);
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// The first opportunity at or after a time.
    fn first_from(&self, time: Instant) -> u64 {
        let len = self.times.len() as u64;
        let period = self.times.last().copied().unwrap_or(1);
        let millis = time.as_nanos().div_ceil(1_000_000);
        let round = (millis / period).saturating_sub(1);
        let mut n = round * len;
        let within = millis - round * period;
        let skip = self.times.partition_point(|t| *t < within) as u64;
        n += skip;
        while self.at(n) < time {
            n += 1;
        }
        n
    }
}

/// A trace at work.
#[derive(Debug)]
pub(super) struct Player {
    trace: Trace,
    /// The opportunity in use, and what is left of it.
    next: u64,
    left: usize,
}

impl Player {
    pub(super) const fn new(trace: Trace) -> Self {
        Self {
            trace,
            next: 0,
            left: OPPORTUNITY_LEN,
        }
    }

    /// The opportunity at which a packet that came at `since` is through, and what is left then.
    fn place(&self, since: Instant, len: usize) -> (u64, usize) {
        let (mut next, mut left) = (self.next, self.left);
        let first = self.trace.first_from(since);
        // What nobody used is gone.
        if first > next {
            (next, left) = (first, OPPORTUNITY_LEN);
        }
        let mut need = len;
        while need > left {
            need -= left;
            next += 1;
            left = OPPORTUNITY_LEN;
        }
        (next, left - need)
    }

    pub(super) fn ready_at(&self, since: Instant, len: usize) -> Instant {
        self.trace.at(self.place(since, len).0)
    }

    pub(super) fn take(&mut self, since: Instant, len: usize) {
        (self.next, self.left) = self.place(since, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: Instant) -> u64 {
        at.as_nanos() / 1_000_000
    }

    #[test]
    fn opportunities_are_used_in_order_and_repeat() {
        let mut player = Player::new(Trace::parse("0\n5\n5\n20\n").unwrap());
        let mut go = |since: u64, len| {
            let since = Instant::ZERO + Duration::from_millis(since);
            let at = player.ready_at(since, len);
            player.take(since, len);
            ms(at)
        };
        assert_eq!(go(0, 1500), 0);
        // Two small ones share an opportunity, a long one takes several.
        assert_eq!([go(1, 700), go(1, 700)], [5, 5]);
        assert_eq!(go(1, 3000), 20);
        // The second round starts where the first ended.
        assert_eq!(go(2, 1500), 20);
        assert_eq!(go(33, 1500), 40);
        assert_eq!(go(1_000_003, 1500), 1_000_005);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        for (text, error) in [
            ("", TraceError::NoTime),
            ("0\n0\n", TraceError::NoTime),
            ("1\nx\n", TraceError::NotANumber { line: 2 }),
            ("-1\n", TraceError::NotANumber { line: 1 }),
            ("3\n\n2\n", TraceError::Backwards { line: 3 }),
        ] {
            assert_eq!(Trace::parse(text), Err(error), "{text:?}");
        }
    }
}
