//! How many random octets follow the QUIC datagram (`docs/protocols/paniq.md`, Transport).
use crate::paniq::random::Draws;
use thiserror::Error;

/// A profile's `transport_padding`; absent keys are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PaddingSpec {
    /// `pad_min`, octets.
    pub pad_min: Option<i64>,
    /// `pad_max`, octets.
    pub pad_max: Option<i64>,
    /// `pad_burst_min`, octets.
    pub pad_burst_min: Option<i64>,
    /// `pad_burst_max`, octets.
    pub pad_burst_max: Option<i64>,
    /// `pad_burst_prob`, from 0 to 1.
    pub pad_burst_prob: Option<f64>,
}

/// What is wrong with a profile's `transport_padding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PaddingError {
    /// A length below zero.
    #[error("padding values must be >= 0")]
    Negative,
    /// `pad_max` below `pad_min`.
    #[error("pad_max must be >= pad_min")]
    Reversed,
    /// `pad_burst_max` below `pad_burst_min`.
    #[error("pad_burst_max must be >= pad_burst_min")]
    BurstReversed,
    /// No probability.
    #[error("pad_burst_prob must be between 0 and 1")]
    NoProbability,
    /// Bursts without a length.
    #[error("pad_burst_max must be > 0 when pad_burst_prob > 0")]
    NoBurstLength,
}

/// The padding of Transport frames. `Default` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Padding {
    min: usize,
    max: usize,
    burst_min: usize,
    burst_max: usize,
    burst_prob: f64,
}

impl Padding {
    /// What a profile without any of the keys has: 0 to 64 octets, and 128 to 256 in one of fifty.
    const UNSAID: PaddingSpec = PaddingSpec {
        pad_min: Some(0),
        pad_max: Some(64),
        pad_burst_min: Some(128),
        pad_burst_max: Some(256),
        pad_burst_prob: Some(0.02),
    };

    /// The padding of a profile. Without any key it is a default; with one, the missing ones are 0.
    ///
    /// # Errors
    /// [`PaddingError`] when the values cannot be.
    pub fn resolve(spec: &PaddingSpec) -> Result<Self, PaddingError> {
        let spec = match *spec == PaddingSpec::default() {
            true => &Self::UNSAID,
            false => spec,
        };
        let length = |value: Option<i64>| {
            usize::try_from(value.unwrap_or(0)).map_err(|_| PaddingError::Negative)
        };
        let padding = Self {
            min: length(spec.pad_min)?,
            max: length(spec.pad_max)?,
            burst_min: length(spec.pad_burst_min)?,
            burst_max: length(spec.pad_burst_max)?,
            burst_prob: spec.pad_burst_prob.unwrap_or(0.0),
        };
        if padding.max < padding.min {
            return Err(PaddingError::Reversed);
        }
        if padding.burst_max < padding.burst_min {
            return Err(PaddingError::BurstReversed);
        }
        if !(0.0..=1.0).contains(&padding.burst_prob) {
            return Err(PaddingError::NoProbability);
        }
        if padding.burst_prob > 0.0 && padding.burst_max == 0 {
            return Err(PaddingError::NoBurstLength);
        }
        Ok(padding)
    }

    /// Shortest padding in octets, outside of bursts.
    #[must_use]
    pub const fn min(&self) -> usize {
        self.min
    }

    /// Longest padding in octets, outside of bursts.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Shortest and longest padding of a burst in octets.
    #[must_use]
    pub const fn burst(&self) -> (usize, usize) {
        (self.burst_min, self.burst_max)
    }

    /// How likely a burst is, from 0 to 1.
    #[must_use]
    pub const fn burst_prob(&self) -> f64 {
        self.burst_prob
    }

    /// Is anything ever padded?
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.max > 0 || self.burst_prob > 0.0
    }

    /// The padding of the next datagram, in octets.
    pub fn draw(&self, draws: &mut Draws) -> usize {
        let is_burst = self.burst_prob >= 1.0
            || self.burst_prob > 0.0
                && f64::from(draws.bits()) <= (self.burst_prob * f64::from(u32::MAX)).floor();
        match is_burst {
            true => draws.length(self.burst_min, self.burst_max),
            false => draws.length(self.min, self.max),
        }
    }
}
