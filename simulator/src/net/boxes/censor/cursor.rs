//! Reads fields off the front of bytes.

/// Bytes that are not read yet. Every read is `None` when there are too few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// A big-endian number of `n` bytes, at most 8.
    pub(super) fn number(&mut self, n: usize) -> Option<u64> {
        let bytes = self.take(n)?;
        Some(bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
    }

    /// Bytes behind their length in `n` bytes.
    pub(super) fn vector(&mut self, n: usize) -> Option<Self> {
        let len = usize::try_from(self.number(n)?).ok()?;
        self.take(len).map(Self)
    }

    /// RFC 9000 section 16.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let len = 1_usize << (first >> 6);
        let all = self.number(len)?;
        Some(all & (u64::MAX >> (66 - 8 * len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_integers_are_those_of_rfc_9000_appendix_a() {
        let read = |bytes: &[u8]| Cursor(bytes).varint();
        assert_eq!(
            read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            Some(151_288_809_941_952_652)
        );
        assert_eq!(read(&[0x9d, 0x7f, 0x3e, 0x7d]), Some(494_878_333));
        assert_eq!(read(&[0x7b, 0xbd]), Some(15_293));
        assert_eq!(read(&[0x25]), Some(37));
        assert_eq!(read(&[0x40, 0x25]), Some(37));
        assert_eq!(read(&[0x40]), None);
        assert_eq!(read(&[]), None);
    }
}
