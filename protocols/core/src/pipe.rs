//! One direction of a byte stream.
use alloc::collections::VecDeque;
use bytes::BytesMut;
use core::ops::{BitOr, BitOrAssign};

/// Did a call move bytes or change state? Drivers loop until a full round returns
/// [`Progress::NONE`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress(pub bool);

impl Progress {
    /// Nothing happened.
    pub const NONE: Self = Self(false);
    /// Something happened.
    pub const MADE: Self = Self(true);
}

impl BitOr for Progress {
    type Output = Self;

    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitOrAssign for Progress {
    fn bitor_assign(&mut self, rhs: Self) {
        self.0 |= rhs.0;
    }
}

/// How a direction of a byte stream ended. Travels in the pipe, behind the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// More bytes may come.
    Open,
    /// The writer is done (TCP FIN). Bytes before it are still delivered.
    Fin,
    /// The writer gave up (TCP RST). Bytes before it are lost.
    Reset,
}

/// Segments kept without a heap queue: enough for header and payload of two records.
const INLINE: usize = 4;

/// A bounded queue of bytes in one direction, made of owned segments that move without copying.
///
/// The session owns its pipes and machines borrow them. [`Pipe::room`] is the back-pressure
/// signal; the limit is soft by the one segment that crosses it. An empty pipe owns no heap.
#[derive(Debug)]
pub struct Pipe {
    /// The first segments; occupied places come first.
    inline: [Option<BytesMut>; INLINE],
    /// Segments behind `inline`; empty unless `inline` is full.
    overflow: VecDeque<BytesMut>,
    /// Occupied places of `inline`.
    inline_len: usize,
    len: usize,
    limit: usize,
    end: End,
}

impl Pipe {
    /// Smallest segment that [`Pipe::push_slice`] allocates, so that short writes share one.
    const SMALL_SEGMENT: usize = 64;

    /// An empty pipe that asks its writer to pause at `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            inline: [const { None }; INLINE],
            overflow: VecDeque::new(),
            inline_len: 0,
            len: 0,
            limit,
            end: End::Open,
        }
    }

    /// Bytes waiting.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// No bytes waiting; says nothing of the end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes the writer may still add; 0 once ended.
    #[must_use]
    pub const fn room(&self) -> usize {
        match self.end {
            End::Open => self.limit.saturating_sub(self.len),
            End::Fin | End::Reset => 0,
        }
    }

    /// The soft limit in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Asks the writer to pause at `limit` bytes from now on; what waits stays.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How the direction ended; bytes may still be waiting before a [`End::Fin`].
    #[must_use]
    pub const fn end(&self) -> End {
        self.end
    }

    /// All bytes are consumed and no more will come.
    #[must_use]
    pub fn is_eof(&self) -> bool {
        self.len == 0 && self.end != End::Open
    }

    /// Ends the direction after what is waiting.
    pub fn finish(&mut self) -> Progress {
        if self.end != End::Open {
            return Progress::NONE;
        }
        self.end = End::Fin;
        Progress::MADE
    }

    /// Aborts the direction and drops what is waiting.
    pub fn reset(&mut self) -> Progress {
        if self.end == End::Reset {
            return Progress::NONE;
        }
        self.end = End::Reset;
        self.clear();
        Progress::MADE
    }

    /// As [`Self::reset`], unless the direction has ended already: what is complete stays so.
    pub fn reset_if_open(&mut self) -> Progress {
        match self.end {
            End::Open => self.reset(),
            End::Fin | End::Reset => Progress::NONE,
        }
    }

    fn clear(&mut self) {
        self.inline = [const { None }; INLINE];
        self.overflow = VecDeque::new();
        self.inline_len = 0;
        self.len = 0;
    }

    /// Appends `segment` without copying.
    ///
    /// # Panics
    /// When the direction has ended: bytes after FIN are a bug of the writer.
    pub fn push(&mut self, segment: BytesMut) {
        assert!(
            self.end == End::Open,
            "bytes pushed after the end of a pipe"
        );
        if segment.is_empty() {
            return;
        }
        self.len += segment.len();
        match self.inline.get_mut(self.inline_len) {
            Some(place) => {
                *place = Some(segment);
                self.inline_len += 1;
            }
            None => self.overflow.push_back(segment),
        }
    }

    /// Appends a copy of `bytes`, into the last segment where it has spare capacity: for headers
    /// and replies, not for payload.
    ///
    /// # Panics
    /// When the direction has ended.
    pub fn push_slice(&mut self, bytes: &[u8]) {
        assert!(
            self.end == End::Open,
            "bytes pushed after the end of a pipe"
        );
        let inline_last = self.inline_len.checked_sub(1);
        let last = match self.overflow.back_mut() {
            Some(segment) => Some(segment),
            None => inline_last
                .and_then(|i| self.inline.get_mut(i))
                .and_then(Option::as_mut),
        };
        match last {
            Some(segment) if segment.capacity() - segment.len() >= bytes.len() => {
                segment.extend_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => {
                let mut segment = BytesMut::with_capacity(bytes.len().max(Self::SMALL_SEGMENT));
                segment.extend_from_slice(bytes);
                self.push(segment);
            }
        }
    }

    /// The first segment, to parse or write from without joining.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        let first = self.inline.first().and_then(Option::as_ref);
        first.map_or(&[], |segment| segment)
    }

    /// The waiting segments in order, for vectored writes.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.inline
            .iter()
            .flatten()
            .chain(&self.overflow)
            .map(|segment| &segment[..])
    }

    /// The first `n` bytes as one slice; `None` when fewer wait. Joins segments only when the
    /// slice straddles them.
    pub fn front(&mut self, n: usize) -> Option<&[u8]> {
        if self.len < n {
            return None;
        }
        if self.first().len() < n {
            self.join(n);
        }
        self.first().get(..n)
    }

    /// What waits, up to `max` bytes, as one slice.
    pub fn peek(&mut self, max: usize) -> &[u8] {
        let n = self.len.min(max);
        self.front(n).unwrap_or_default()
    }

    fn join(&mut self, n: usize) {
        let Some(mut joined) = self.pop_segment() else {
            return;
        };
        while joined.len() < n {
            let Some(mut next) = self.pop_segment() else {
                break;
            };
            let need = n - joined.len();
            if next.len() <= need {
                joined.extend_from_slice(&next);
            } else {
                joined.extend_from_slice(&next.split_to(need));
                self.push_segment_front(next);
            }
        }
        self.push_segment_front(joined);
    }

    /// Takes the first segment off the queue; `len` is left to the caller.
    fn pop_segment(&mut self) -> Option<BytesMut> {
        self.inline_len = self.inline_len.checked_sub(1)?;
        let first = self.inline.first_mut()?.take()?;
        if self.inline_len > 0 {
            self.inline.rotate_left(1);
        }
        if let Some(next) = self.overflow.pop_front() {
            if let Some(place) = self.inline.get_mut(self.inline_len) {
                *place = Some(next);
            }
            self.inline_len += 1;
            if self.overflow.is_empty() {
                self.overflow = VecDeque::new();
            }
        }
        Some(first)
    }

    fn push_segment_front(&mut self, segment: BytesMut) {
        self.inline.rotate_right(1);
        let pushed_out = match self.inline.first_mut() {
            Some(place) => place.replace(segment),
            None => return,
        };
        match pushed_out {
            Some(last) => self.overflow.push_front(last),
            None => self.inline_len += 1,
        }
    }

    /// Removes and returns up to `max` bytes of the first segment; never copies. The segment is
    /// uniquely owned, so it can be decrypted in place.
    pub fn take(&mut self, max: usize) -> Option<BytesMut> {
        if self.len == 0 || max == 0 {
            return None;
        }
        let out = if self.first().len() <= max {
            self.pop_segment()?
        } else {
            self.inline.first_mut()?.as_mut()?.split_to(max)
        };
        self.len -= out.len();
        Some(out)
    }

    /// Drops the first `n` bytes, or all when fewer wait. Returns how many were dropped.
    pub fn skip(&mut self, n: usize) -> usize {
        let mut left = n;
        while let Some(segment) = self.take(left) {
            left -= segment.len();
        }
        n - left
    }

    /// Moves as much as `to` has room for, then the end once drained; never copies payload. A
    /// reset is passed on at once.
    pub fn transfer(&mut self, to: &mut Self) -> Progress {
        let mut progress = Progress::NONE;
        while let Some(segment) = self.take(to.room()) {
            to.push(segment);
            progress = Progress::MADE;
        }
        match self.end {
            End::Open => progress,
            End::Fin if self.len > 0 => progress,
            End::Fin => progress | to.finish(),
            End::Reset => progress | to.reset(),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    #[derive(Clone, Debug)]
    enum Op {
        Push(Vec<u8>),
        PushSlice(Vec<u8>),
        Take(usize),
        Skip(usize),
        Front(usize),
        Transfer,
        Finish,
        Reset,
        ResetIfOpen,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..90);
        let op = prop_oneof![
            6 => bytes().prop_map(Op::Push),
            6 => bytes().prop_map(Op::PushSlice),
            4 => (0..200_usize).prop_map(Op::Take),
            2 => (0..200_usize).prop_map(Op::Skip),
            4 => (0..200_usize).prop_map(Op::Front),
            3 => Just(Op::Transfer),
            1 => Just(Op::Finish),
            1 => Just(Op::Reset),
            1 => Just(Op::ResetIfOpen),
        ];
        proptest::collection::vec(op, 0..120)
    }

    /// What a pipe means: a vector of bytes and an end.
    #[derive(Default)]
    struct Model {
        bytes: Vec<u8>,
        end: Option<End>,
    }

    impl Model {
        fn end(&self) -> End {
            self.end.unwrap_or(End::Open)
        }

        fn reset(&mut self) {
            self.bytes.clear();
            self.end = Some(End::Reset);
        }
    }

    fn content(pipe: &Pipe) -> Vec<u8> {
        pipe.segments().flatten().copied().collect()
    }

    fn check(pipe: &Pipe, model: &Model) {
        assert_eq!(content(pipe), model.bytes);
        assert_eq!(pipe.len(), model.bytes.len());
        assert_eq!(pipe.end(), model.end());
        assert_eq!(
            pipe.is_eof(),
            model.bytes.is_empty() && model.end() != End::Open
        );
        assert!(pipe.segments().all(|s| !s.is_empty()), "no empty segments");
        if pipe.is_empty() {
            assert_eq!(pipe.overflow.capacity(), 0, "an empty pipe owns no heap");
            assert!(
                pipe.inline.iter().all(Option::is_none),
                "an empty pipe owns no heap"
            );
        }
    }

    fn push(pipe: &mut Pipe, model: &mut Model, bytes: &[u8], copy: bool) {
        if model.end() != End::Open {
            return;
        }
        if copy {
            pipe.push_slice(bytes)
        } else {
            pipe.push(BytesMut::from(bytes))
        }
        model.bytes.extend_from_slice(bytes);
    }

    fn take(pipe: &mut Pipe, model: &mut Model, max: usize) {
        let taken = pipe.take(max);
        assert_eq!(taken.is_none(), model.bytes.is_empty() || max == 0);
        let taken = taken.unwrap_or_default();
        assert!(taken.len() <= max);
        let expected: Vec<u8> = model.bytes.drain(..taken.len()).collect();
        assert_eq!(taken, expected);
    }

    fn transfer(from: &mut Pipe, from_model: &mut Model, to: &mut Pipe, to_model: &mut Model) {
        let n = if to_model.end() == End::Open {
            to.room().min(from.len())
        } else {
            0
        };
        let _ = from.transfer(to);
        to_model.bytes.extend(from_model.bytes.drain(..n));
        match from_model.end() {
            End::Fin if from_model.bytes.is_empty() && to_model.end() == End::Open => {
                to_model.end = Some(End::Fin);
            }
            End::Reset => to_model.reset(),
            End::Open | End::Fin => {}
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_byte_vector(ops in ops()) {
            let (mut a, mut b) = (Pipe::new(300), Pipe::new(100));
            let (mut ma, mut mb) = (Model::default(), Model::default());
            for op in ops {
                match op {
                    Op::Push(bytes) => push(&mut a, &mut ma, &bytes, false),
                    Op::PushSlice(bytes) => push(&mut a, &mut ma, &bytes, true),
                    Op::Take(max) => take(&mut a, &mut ma, max),
                    Op::Skip(n) => {
                        let skipped = a.skip(n);
                        prop_assert_eq!(skipped, n.min(ma.bytes.len()));
                        ma.bytes.drain(..skipped);
                    }
                    Op::Front(n) => prop_assert_eq!(a.front(n), ma.bytes.get(..n)),
                    Op::Transfer => transfer(&mut a, &mut ma, &mut b, &mut mb),
                    Op::Finish => {
                        let _ = a.finish();
                        ma.end.get_or_insert(End::Fin);
                    }
                    Op::Reset => {
                        let _ = a.reset();
                        ma.reset();
                    }
                    Op::ResetIfOpen => {
                        let was_open = ma.end() == End::Open;
                        prop_assert_eq!(a.reset_if_open(), Progress(was_open));
                        if was_open {
                            ma.reset();
                        }
                    }
                }
                check(&a, &ma);
                check(&b, &mb);
                prop_assert_eq!(b.room(), if mb.end() == End::Open { 100 - mb.bytes.len() } else { 0 });
            }
        }
    }

    #[test]
    fn take_keeps_the_allocation() {
        let mut pipe = Pipe::new(1 << 20);
        let segment = BytesMut::from(&vec![7_u8; 4096][..]);
        let at = segment.as_ptr();
        pipe.push(segment);
        assert_eq!(pipe.take(usize::MAX).map(|s| s.as_ptr()), Some(at));
    }

    #[test]
    #[should_panic(expected = "after the end")]
    fn bytes_after_fin_are_a_bug() {
        let mut pipe = Pipe::new(10);
        let _ = pipe.finish();
        pipe.push_slice(b"x");
    }
}
