//! The Internet checksum: RFC 1071, and RFC 1624 for updates in place.
use core::net::IpAddr;

/// Whether a transport checksum must be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The packet came over a wire, or from a driver without offload.
    Verify,
    /// The packet never left the host, or its checksum was verified already.
    Trusted,
}

/// What the checksum field of a transport header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The whole checksum.
    Complete,
    /// The folded sum of the pseudo header only, not inverted: an offload completes it.
    Partial,
}

/// A running sum of 16-bit words, kept in the machine's own byte order: the sum does not mind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: u64,
    /// An odd number of bytes came so far, so that the next one is the second of its word.
    odd: bool,
}

impl Sum {
    /// The sum of the pseudo header, for addresses of 4 or of 16 bytes.
    pub(crate) fn pseudo(source: &[u8], destination: &[u8], protocol: u8, len: usize) -> Self {
        let mut sum = Self::default();
        sum.add(source);
        sum.add(destination);
        sum.add(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        sum.add(&[0, protocol]);
        sum
    }

    /// Adds bytes behind those added before.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        // At most 2^14 words of 32 bits each, so 64 bits cannot overflow in one packet.
        let mut sum: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        sum += u64::from(u32::from_ne_bytes(last));
        let mut folded = fold(sum);
        if self.odd {
            folded = folded.swap_bytes();
        }
        self.total += u64::from(folded);
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The sum, not inverted, as the two bytes that stand in a packet.
    pub(crate) fn folded(self) -> [u8; 2] {
        fold(self.total).to_ne_bytes()
    }

    /// The checksum, as the two bytes that stand in a packet.
    pub(crate) fn finish(self) -> [u8; 2] {
        (!fold(self.total)).to_ne_bytes()
    }

    /// Is this the sum of bytes that hold their own right checksum?
    pub(crate) fn is_valid(self) -> bool {
        fold(self.total) == u16::MAX
    }
}

/// Ones' complement sum of `bytes` in 16-bit big-endian words, folded, not inverted. An odd last
/// byte counts as the high half of a word. Exact for up to 2^34 bytes.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(bytes);
    u16::from_be_bytes(sum.folded())
}

/// Adds what does not fit into 16 bits until all fits.
const fn fold(mut wide: u64) -> u16 {
    while wide > 0xffff {
        wide = (wide >> 16) + (wide & 0xffff);
    }
    let [low, high, ..] = wide.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// The sum of several folded sums. Each but the last must be over an even number of bytes.
#[must_use]
pub fn combine(sums: &[u16]) -> u16 {
    fold(sums.iter().map(|sum| u64::from(*sum)).sum())
}

/// The folded sum of the pseudo header (RFC 793, RFC 8200 section 8.1) for a transport header and
/// payload of `len` bytes. Zero when the addresses are of different families.
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u16 {
    u16::from_be_bytes(pseudo(source, destination, protocol, len).folded())
}

/// The same as a sum to go on with.
pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Sum {
    match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Sum::pseudo(&a.octets(), &b.octets(), protocol, len),
        (IpAddr::V6(a), IpAddr::V6(b)) => Sum::pseudo(&a.octets(), &b.octets(), protocol, len),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Sum::default(),
    }
}

/// Whether a transport header and payload with a complete checksum inside sum up.
#[must_use]
pub fn is_valid(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> bool {
    let pseudo = pseudo_header(source, destination, protocol, segment.len());
    combine(&[pseudo, sum(segment)]) == 0xffff
}

/// The checksum after 16-bit-aligned bytes under it changed from the folded sum `old` to `new`
/// (RFC 1624, equation 3).
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !combine(&[!checksum, !old, new])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word by word, as RFC 1071 section 4.1 writes it.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (!u16::try_from(sum).unwrap()).to_be_bytes()
    }

    proptest::proptest! {
        #[test]
        fn pieces_of_any_length_sum_like_one(
            pieces in proptest::collection::vec(proptest::collection::vec(0..=255_u8, 0..40), 0..6),
        ) {
            let mut sum = Sum::default();
            for piece in &pieces {
                sum.add(piece);
            }
            let whole = pieces.concat();
            proptest::prop_assert_eq!(sum.finish(), plain(&whole));
            let mut with = Sum::default();
            with.add(&whole);
            if whole.len() % 2 == 0 {
                with.add(&sum.finish());
                // A sum of nothing but zeros is the one that has two forms.
                proptest::prop_assert!(with.is_valid());
            }
        }
    }
}
