//! The generator behind everything random on the wire.
use super::obf::HeaderRange;
use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::Seed;
use std::time::Duration;

/// A stream of random octets for prefixes, headers, junk and padding. Keys are not drawn from it.
#[derive(Clone, Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream that `seed` leads to.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self(ChaCha8Rng::from_seed(seed.bytes()))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number from 0 to below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The bias is below n / 2^64.
        self.0.next_u64().checked_rem(n).unwrap_or(0)
    }

    /// A pause, up to a quarter longer: who waits for the same thing does not wait for it in step.
    pub fn stretch(&mut self, pause: Duration) -> Duration {
        let quarter = u64::try_from(pause.as_nanos() / 4).unwrap_or(u64::MAX);
        pause.saturating_add(Duration::from_nanos(self.below(quarter)))
    }

    /// A length from `min` to `max`, both possible; `min` when `max` is not above it.
    pub fn length(&mut self, min: usize, max: usize) -> usize {
        let Some(span) = max.checked_sub(min).filter(|span| *span > 0) else {
            return min;
        };
        let extra = self.below(span as u64 + 1);
        min + usize::try_from(extra).unwrap_or(span)
    }

    /// A value of `range`.
    pub fn header(&mut self, range: HeaderRange) -> u32 {
        let offset = self.below(range.width());
        range
            .start()
            .saturating_add(u32::try_from(offset).unwrap_or(0))
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// Appends `n` random octets to `out`.
    pub fn append(&mut self, n: usize, out: &mut BytesMut) {
        let at = out.len();
        out.resize(at + n, 0);
        if let Some(new) = out.get_mut(at..) {
            self.fill(new);
        }
    }
}
