//! Memory for what comes over streams. Received datagrams may share one buffer of the owner's, and
//! hold it as a whole; what is kept of them is copied here, densely, into chunks that are used
//! again once everything in them was taken.
use bytes::{Bytes, BytesMut};
use sansbox_core::Pipe;
use std::collections::VecDeque;

/// Bytes of a chunk.
const CHUNK: usize = 16 * 1024;

/// Chunks that are kept to be used again: as many as the windows of one fast tunnel hold twice.
const KEPT_MAX: usize = 1024;

/// Of so many chunks that are used one is given back if there is another one to be used next.
const TRIM_EVERY: u8 = 64;

#[derive(Debug, Default)]
pub(crate) struct Arena {
    current: Option<BytesMut>,
    /// Full ones, the oldest first.
    full: VecDeque<BytesMut>,
    /// Chunks used since one was given back.
    untrimmed: u8,
}

impl Arena {
    /// Appends a copy of `bytes` to what is gathered; what no longer fits goes to `out` first.
    pub(crate) fn gather(&mut self, bytes: &Bytes, out: &mut Pipe) {
        let mut left = &bytes[..];
        while !left.is_empty() {
            let Some(current) = self.current.as_mut().filter(|c| c.capacity() > c.len()) else {
                self.hand_over(out);
                self.next();
                continue;
            };
            let room = current.capacity() - current.len();
            let (now, later) = left.split_at(room.min(left.len()));
            current.extend_from_slice(now);
            left = later;
        }
    }

    /// Gives what is gathered to `out`.
    pub(crate) fn hand_over(&mut self, out: &mut Pipe) {
        if let Some(current) = &mut self.current {
            out.push(current.split());
        }
    }

    /// Gives all memory back that nobody uses.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A chunk with room: the oldest, unless something of it is still used.
    fn next(&mut self) {
        self.full.extend(self.current.take());
        if let Some(mut oldest) = self.full.pop_front() {
            if oldest.try_reclaim(CHUNK) {
                self.current = Some(oldest);
                self.trim();
                return;
            }
            if self.full.len() < KEPT_MAX {
                self.full.push_front(oldest);
            }
        }
        self.current = Some(BytesMut::with_capacity(CHUNK));
    }

    /// After a time with much on its way there may be more than is needed now.
    fn trim(&mut self) {
        self.untrimmed += 1;
        if self.untrimmed >= TRIM_EVERY {
            self.untrimmed = 0;
            let next = self.full.front_mut();
            if next.is_some_and(|next| next.try_reclaim(CHUNK)) {
                self.full.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(arena: &mut Arena, bytes: &[u8], out: &mut Pipe) {
        arena.gather(&Bytes::copy_from_slice(bytes), out);
        arena.hand_over(out);
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_chunks() {
        let (mut arena, mut out) = (Arena::default(), Pipe::new(usize::MAX));
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for part in bytes.chunks(1237) {
            gather(&mut arena, part, &mut out);
        }
        assert_eq!(out.peek(usize::MAX), bytes);
    }

    #[test]
    fn chunks_are_used_again_when_all_of_them_was_taken() {
        let (mut arena, mut out) = (Arena::default(), Pipe::new(usize::MAX));
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..100 {
            gather(&mut arena, &[7; CHUNK], &mut out);
            let taken = out.take(usize::MAX).unwrap();
            places.insert(taken.as_ptr().addr());
        }
        assert!(places.len() < 4, "{} chunks", places.len());
    }

    #[test]
    fn what_is_not_needed_any_more_is_given_back() {
        let (mut arena, mut out) = (Arena::default(), Pipe::new(usize::MAX));
        for _ in 0..100 {
            gather(&mut arena, &[7; CHUNK], &mut out);
        }
        out.skip(usize::MAX);
        let kept = arena.full.len();
        for _ in 0..10 * usize::from(TRIM_EVERY) {
            gather(&mut arena, &[7; CHUNK], &mut out);
            out.skip(usize::MAX);
        }
        assert!(kept > 90 && arena.full.len() == kept - 10);
    }

    #[test]
    fn what_is_not_taken_stays_as_it_is_and_little_is_kept_beside_it() {
        let (mut arena, mut out) = (Arena::default(), Pipe::new(usize::MAX));
        let chunks = || (0..=255).cycle().take(KEPT_MAX * 3 / 2);
        for n in chunks() {
            gather(&mut arena, &[n; CHUNK], &mut out);
        }
        assert!(arena.full.len() <= KEPT_MAX);
        for n in chunks() {
            assert_eq!(out.front(CHUNK).unwrap(), [n; CHUNK]);
            out.skip(CHUNK);
        }
    }
}
