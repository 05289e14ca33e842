//! A domain name as rules see it.
use sansbox_core::Domain;

/// A name in lower case on the stack, its final dot kept: sing-box matches names as the client
/// sent them, so `example.com` in a rule does not match `example.com.`.
#[derive(Debug)]
pub(super) struct Name {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
}

impl Name {
    /// Longest name in octets, with the final dot.
    pub(super) const LEN_MAX: usize = Domain::LEN_MAX + 1;

    pub(super) fn new(domain: &Domain) -> Self {
        let text = domain.as_str().as_bytes();
        let mut bytes = [0; Self::LEN_MAX];
        let len = text.len().min(Self::LEN_MAX);
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = from.to_ascii_lowercase();
        }
        Self { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Hash of a name, fed from its last byte to its first.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameHash(u64);

impl NameHash {
    pub(super) const EMPTY: Self = Self(0x243f_6a88_85a3_08d3);

    pub(super) fn of(name: &[u8]) -> Self {
        name.iter().rev().fold(Self::EMPTY, |hash, &b| hash.push(b))
    }

    pub(super) fn push(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn finish(self) -> u32 {
        let mixed = (self.0 ^ self.0 >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 32) as u32
    }
}
