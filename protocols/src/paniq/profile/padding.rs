//! How many random bytes stand behind a packet (paniq.md section 3.2).
use super::{
    model::Padding,
    problem::{Problem, Reason},
};

/// The rule for padding, complete and checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaddingPolicy {
    /// Least number of bytes.
    pub min: u16,
    /// Greatest number of bytes, not below `min`.
    pub max: u16,
    /// Least number of bytes in a burst.
    pub burst_min: u16,
    /// Greatest number of bytes in a burst, not below `burst_min`.
    pub burst_max: u16,
    /// Probability of a burst, from 0 to 1; above 0 only with `burst_max` above 0.
    pub burst_prob: f64,
}

impl PaddingPolicy {
    /// What holds when a profile says nothing about padding.
    pub const DEFAULT: Self = Self {
        min: 0,
        max: 64,
        burst_min: 128,
        burst_max: 256,
        burst_prob: 0.02,
    };

    /// Is anything ever added?
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.max > 0 || self.burst_prob > 0.0
    }
}

impl Padding {
    /// Is no field given?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with all five fields, if any is given: those that are missing then count as zero.
    #[must_use]
    pub fn completed(&self) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        Self {
            pad_min: Some(self.pad_min.unwrap_or(0)),
            pad_max: Some(self.pad_max.unwrap_or(0)),
            pad_burst_min: Some(self.pad_burst_min.unwrap_or(0)),
            pad_burst_max: Some(self.pad_burst_max.unwrap_or(0)),
            pad_burst_prob: Some(self.pad_burst_prob.unwrap_or(0.0)),
        }
    }

    /// The rule: [`PaddingPolicy::DEFAULT`] when no field is given, else the fields with zero for
    /// those that are missing.
    ///
    /// # Errors
    /// Every field that is negative or larger than a datagram, ranges the wrong way round, a
    /// probability outside 0 to 1, and one above 0 without `pad_burst_max`.
    pub fn resolve(&self) -> Result<PaddingPolicy, Vec<Problem>> {
        if self.is_empty() {
            return Ok(PaddingPolicy::DEFAULT);
        }
        let mut problems = Vec::new();
        let mut bytes = |name, value: Option<i64>| {
            let value = value.unwrap_or(0);
            u16::try_from(value).unwrap_or_else(|_| {
                problems.push(Problem::new(name, Reason::outside(value, u16::MAX.into())));
                0
            })
        };
        let min = bytes(MIN, self.pad_min);
        let max = bytes(MAX, self.pad_max);
        let burst_min = bytes(BURST_MIN, self.pad_burst_min);
        let burst_max = bytes(BURST_MAX, self.pad_burst_max);
        let burst_prob = self.pad_burst_prob.unwrap_or(0.0);
        if problems.is_empty() {
            if max < min {
                problems.push(Problem::new(MAX, Reason::Below("pad_min")));
            }
            if burst_max < burst_min {
                problems.push(Problem::new(BURST_MAX, Reason::Below("pad_burst_min")));
            }
            if burst_prob > 0.0 && burst_max == 0 {
                problems.push(Problem::new(BURST_MAX, Reason::BurstWithoutLength));
            }
        }
        if !(0.0..=1.0).contains(&burst_prob) {
            problems.push(Problem::new(BURST_PROB, Reason::NoProbability));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(PaddingPolicy {
            min,
            max,
            burst_min,
            burst_max,
            burst_prob,
        })
    }
}

/// Paths of the fields.
pub(super) const MIN: &str = "transport_padding.pad_min";
pub(super) const MAX: &str = "transport_padding.pad_max";
const BURST_MIN: &str = "transport_padding.pad_burst_min";
pub(super) const BURST_MAX: &str = "transport_padding.pad_burst_max";
const BURST_PROB: &str = "transport_padding.pad_burst_prob";
