//! A domain name as rules see it.
use sansbox_core::Domain;

/// A name in lower case, its final dot kept: sing-box matches names as the client sent them, so
/// `example.com` in a rule does not match `example.com.`.
///
/// Nearly all names come in lower case, and are not copied then: a comparison that reads what was
/// just written in smaller pieces would wait for all that the processor does before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a>(&'a [u8]);

/// Where a name that needs it is lowered, on the stack.
#[derive(Debug, Default)]
pub(super) struct Lowered(Option<[u8; Name::LEN_MAX]>);

impl<'a> Name<'a> {
    /// Longest name in octets, with the final dot.
    pub(super) const LEN_MAX: usize = Domain::LEN_MAX + 1;

    pub(super) fn new(domain: &'a Domain, lowered: &'a mut Lowered) -> Self {
        let text = domain.as_str().as_bytes();
        // Without an early end, so that it is done many octets at a time.
        let has_upper = text
            .iter()
            .fold(false, |has, b| has | b.is_ascii_uppercase());
        match has_upper {
            true => Self(lowered.lower(text)),
            false => Self(text),
        }
    }

    pub(super) const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl Lowered {
    #[cold]
    fn lower(&mut self, text: &[u8]) -> &[u8] {
        let bytes = self.0.insert([0; Name::LEN_MAX]);
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = from.to_ascii_lowercase();
        }
        bytes.get(..text.len()).unwrap_or_default()
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

    pub(super) fn finish(self) -> u64 {
        (self.0 ^ self.0 >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}
