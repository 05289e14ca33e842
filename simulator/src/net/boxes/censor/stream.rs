//! The begin of a byte stream, put together from pieces in any order.
use std::collections::BTreeMap;

/// Bytes of one stream that a censor looks at, in order or waiting for what is before them.
pub(super) const INSPECTED_MAX: usize = 16 * 1024;
/// Pieces of one stream that wait for what is before them.
const WAITING_MAX: usize = 64;

/// The first [`INSPECTED_MAX`] bytes of a stream. Of bytes that come twice the first count.
#[derive(Debug, Default)]
pub(super) struct Stream {
    begin: Vec<u8>,
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl Stream {
    /// A piece arrives.
    pub(super) fn insert(&mut self, offset: u64, bytes: &[u8]) {
        if offset > self.begin.len() as u64 {
            let fits = offset < INSPECTED_MAX as u64 && self.waiting.len() < WAITING_MAX;
            if fits {
                let bytes = bytes.get(..INSPECTED_MAX).unwrap_or(bytes);
                self.waiting.entry(offset).or_insert_with(|| bytes.to_vec());
            }
            return;
        }
        self.append(offset, bytes);
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.begin.len() as u64 {
                break;
            }
            let (offset, bytes) = entry.remove_entry();
            self.append(offset, &bytes);
        }
    }

    fn append(&mut self, offset: u64, bytes: &[u8]) {
        let known = (self.begin.len() as u64).saturating_sub(offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let room = INSPECTED_MAX - self.begin.len();
        let new = bytes.get(known..).unwrap_or_default();
        self.begin.extend_from_slice(new.get(..room).unwrap_or(new));
    }

    /// Bytes from the begin without a gap.
    pub(super) fn begin(&self) -> &[u8] {
        &self.begin
    }

    /// Nothing more is kept.
    pub(super) const fn is_full(&self) -> bool {
        self.begin.len() >= INSPECTED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_together_in_any_order() {
        let text: Vec<u8> = (0..=255).collect();
        let pieces = [(10, 40), (0, 5), (200, 256), (4, 12), (5, 9), (39, 210)];
        let mut stream = Stream::default();
        let mut lens = Vec::new();
        for (from, to) in pieces {
            stream.insert(from as u64, &text[from..to]);
            lens.push(stream.begin().len());
            assert_eq!(stream.begin(), &text[..stream.begin().len()]);
        }
        assert_eq!(lens, [0, 5, 5, 40, 40, 256]);
    }

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let mut stream = Stream::default();
        let large = vec![7; INSPECTED_MAX];
        stream.insert(1, &large);
        stream.insert(u64::MAX, &large);
        stream.insert(INSPECTED_MAX as u64, &large);
        for n in 0..10_000 {
            stream.insert(2 + n, b"x");
        }
        let kept: usize = stream.waiting.values().map(Vec::len).sum();
        assert!(kept <= INSPECTED_MAX + WAITING_MAX, "{kept}");
        stream.insert(0, b"abc");
        assert!(stream.is_full() && stream.begin().len() == INSPECTED_MAX);
        stream.insert(0, &large);
        assert_eq!(stream.begin().get(..4), Some(&b"abc\x07"[..]));
    }
}
