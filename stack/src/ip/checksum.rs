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

/// Ones' complement sum of `bytes` in 16-bit big-endian words, folded, not inverted. An odd last
/// byte counts as the high half of a word. Exact for up to 2^34 bytes.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    // RFC 1071 section 2 (B): the order of bytes does not matter until the end, so words are read
    // as the processor has them, and four bytes at a time.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut wide = words.iter().fold(0_u64, |wide, word| {
        wide + u64::from(u32::from_ne_bytes(*word))
    });
    let mut tail = [0; 4];
    for (at, byte) in tail.iter_mut().zip(rest) {
        *at = *byte;
    }
    wide += u64::from(u32::from_ne_bytes(tail));
    u16::from_be(fold(wide))
}

/// Folds a wide sum into 16 bits.
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
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    let tail = fold(len.saturating_add(u64::from(protocol)));
    match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => combine(&[sum(&a.octets()), sum(&b.octets()), tail]),
        (IpAddr::V6(a), IpAddr::V6(b)) => combine(&[sum(&a.octets()), sum(&b.octets()), tail]),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
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
