//! What a profile says about padding (`docs/protocols/paniq.md`, The profile), and what
//! can be wrong with it.
use super::{
    model::Padding,
    problem::{Problem, Reason},
};
use crate::paniq::{
    obf::UDP_PAYLOAD_LEN_MAX,
    transport::{self, PaddingError, PaddingSpec},
};

/// Paths of the fields.
pub(super) const MIN: &str = "transport_padding.pad_min";
pub(super) const MAX: &str = "transport_padding.pad_max";
const BURST_MIN: &str = "transport_padding.pad_burst_min";
pub(super) const BURST_MAX: &str = "transport_padding.pad_burst_max";
const BURST_PROB: &str = "transport_padding.pad_burst_prob";

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

    /// The rule for padding: a default when no field is given, else the fields, with zero for
    /// those that are missing.
    ///
    /// # Errors
    /// Lengths that are negative or longer than a datagram, ranges the wrong way round, a
    /// probability outside 0 to 1, and one above 0 without `pad_burst_max`.
    pub fn resolve(&self) -> Result<transport::Padding, Vec<Problem>> {
        let lengths = [
            (MIN, self.pad_min),
            (MAX, self.pad_max),
            (BURST_MIN, self.pad_burst_min),
            (BURST_MAX, self.pad_burst_max),
        ];
        let max = UDP_PAYLOAD_LEN_MAX as u64;
        let outside = lengths.into_iter().filter_map(|(field, value)| {
            let value = value?;
            let is_inside = u64::try_from(value).is_ok_and(|value| value <= max);
            (!is_inside).then(|| Problem::new(field, Reason::outside(value, max)))
        });
        let problems: Vec<_> = outside.collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let spec = PaddingSpec {
            pad_min: self.pad_min,
            pad_max: self.pad_max,
            pad_burst_min: self.pad_burst_min,
            pad_burst_max: self.pad_burst_max,
            pad_burst_prob: self.pad_burst_prob,
        };
        transport::Padding::resolve(&spec).map_err(|error| {
            let (field, reason) = match error {
                PaddingError::Negative => (MIN, Reason::Negative),
                PaddingError::Reversed => (MAX, Reason::Below("pad_min")),
                PaddingError::BurstReversed => (BURST_MAX, Reason::Below("pad_burst_min")),
                PaddingError::NoProbability => (BURST_PROB, Reason::NoProbability),
                PaddingError::NoBurstLength => (BURST_MAX, Reason::BurstWithoutLength),
            };
            vec![Problem::new(field, reason)]
        })
    }
}
