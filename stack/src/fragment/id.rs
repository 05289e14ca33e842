//! Identifications of packets that this stack makes.
use sansbox_core::Seed;

/// Counters that start at random (RFC 7739 section 5.2): the next value differs from all recent
/// ones, whoever the packet goes to.
#[derive(Clone, Debug)]
pub struct Identification {
    v4: u16,
    v6: u32,
}

impl Identification {
    /// Counters that start where `seed` says.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        let [a, b, c, d, e, f, ..] = seed.derive("stack/identification").bytes();
        Self {
            v4: u16::from_be_bytes([a, b]),
            v6: u32::from_be_bytes([c, d, e, f]),
        }
    }

    /// The next for IPv4.
    pub const fn next_v4(&mut self) -> u16 {
        self.v4 = self.v4.wrapping_add(1);
        self.v4
    }

    /// The next for IPv6.
    pub const fn next_v6(&mut self) -> u32 {
        self.v6 = self.v6.wrapping_add(1);
        self.v6
    }
}
