//! The Internet checksum (RFC 1071) over bytes that lie in several pieces.

/// A running sum of 16-bit words, kept in the machine's own byte order: the sum does not mind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: u64,
    /// An odd number of bytes came so far, so that the next one is the second of its word.
    odd: bool,
}

impl Sum {
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

/// Adds what does not fit into 16 bits until all fits.
const fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The pseudo header of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 8200 section 8.1), for
/// addresses of 4 or of 16 bytes.
pub(crate) fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, len: u32) -> Sum {
    let mut sum = Sum::default();
    sum.add(source);
    sum.add(destination);
    sum.add(&len.to_be_bytes());
    sum.add(&[0, protocol]);
    sum
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
