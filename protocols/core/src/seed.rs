//! Randomness as a plain value.
use core::fmt;
#[expect(
    deprecated,
    reason = "the only keyed PRF in core; its algorithm, SipHash-2-4, is fixed"
)]
use core::hash::{Hasher, SipHasher};

/// 32 bytes of randomness, given to a machine at construction; the machine owns the generator it
/// makes from them. `Debug` prints nothing: in production a seed is key material.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps `bytes`, which must be uniformly random wherever secrets depend on them.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed for tests and simulations, from a small number.
    #[must_use]
    pub fn from_u64(n: u64) -> Self {
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().zip(n.to_le_bytes()) {
            *at = byte;
        }
        Self(bytes).derive("seed")
    }

    /// The bytes, to key a generator.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The sub-seed called `name`, such as `"host/tls"`. Sub-seeds of different names are
    /// independent, and asking for one more shifts none of the others.
    ///
    /// Each output word is SipHash-2-4 of the name under both halves of the seed as keys, so
    /// learning a sub-seed reveals neither its parent nor its siblings.
    #[must_use]
    pub fn derive(&self, name: &str) -> Self {
        self.derive_bytes(name.as_bytes(), 0)
    }

    /// The `n`-th sub-seed called `name`: one for each connection of a listener.
    #[must_use]
    pub fn derive_nth(&self, name: &str, n: u64) -> Self {
        self.derive_bytes(name.as_bytes(), n)
    }

    #[expect(deprecated, reason = "see the import")]
    fn derive_bytes(&self, name: &[u8], n: u64) -> Self {
        let mut keys = self.0.chunks_exact(8).map(|k| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(k);
            u64::from_le_bytes(bytes)
        });
        let mut key = || keys.next().unwrap_or_default();
        let inner = SipHasher::new_with_keys(key(), key());
        let outer = SipHasher::new_with_keys(key(), key());
        let mut out = [0; 32];
        for (index, at) in (0_u128..).zip(out.chunks_exact_mut(8)) {
            let (mut inner, mut outer) = (inner.clone(), outer.clone());
            for hasher in [&mut inner, &mut outer] {
                hasher.write(&(u128::from(n) << 64 | index).to_le_bytes());
                hasher.write(name);
            }
            // Chained, not combined by XOR: equal halves of a seed must not cancel out.
            outer.write(&inner.finish().to_le_bytes());
            at.copy_from_slice(&outer.finish().to_le_bytes());
        }
        Self(out)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_seeds_differ_by_name_by_number_and_by_parent() {
        let a = Seed::from_u64(1);
        assert_eq!(a.derive("host/tls"), a.derive("host/tls"));
        assert_ne!(a.derive("host/tls"), a.derive("host/tlt"));
        assert_ne!(a.derive_nth("c", 0), a.derive_nth("c", 1));
        assert_ne!(a.derive("x"), Seed::from_u64(2).derive("x"));
        assert_eq!(a.derive("c"), a.derive_nth("c", 0));
    }

    #[test]
    fn words_of_a_repetitive_seed_do_not_cancel() {
        let bytes = Seed::new([7; 32]).derive("a").bytes();
        assert!(bytes.chunks(8).all(|word| word != [0; 8]));
    }

    #[test]
    fn derivation_is_the_same_on_every_machine() {
        let bytes = Seed::new([7; 32]).derive("host/tls").bytes();
        let first = bytes.first_chunk::<8>().copied().map(u64::from_le_bytes);
        assert_eq!(first, Some(EXPECTED_FIRST_WORD));
    }

    /// Recorded once; a change would change every recorded run.
    const EXPECTED_FIRST_WORD: u64 = 12_786_290_184_811_845_120;

    #[test]
    fn debug_shows_no_bytes() {
        extern crate std;
        assert_eq!(std::format!("{:?}", Seed::from_u64(9)), "Seed(..)");
    }
}
