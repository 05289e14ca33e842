//! Buffers that are leased only while bytes move.
use bytes::BytesMut;
use core::{
    cell::{Cell, RefCell},
    task::{Poll, ready},
};
use std::collections::VecDeque;

/// Bytes of an ordinary buffer.
pub(crate) const SMALL: usize = 64 * 1024;
/// Bytes of a buffer for bulk that cannot be spliced.
pub(crate) const LARGE: usize = 256 * 1024;
/// Unleased buffers kept of each size.
const KEPT: usize = 16;
/// A received run of at least so many bytes is handed over as it lies; a shorter one is copied
/// out, so that what a machine keeps never pins much more than it holds.
const HAND_OVER: usize = SMALL / 4;
/// Bytes that short reads of relays share: what a stalled stream may pin.
const SHARED: usize = 16 * 1024;
/// Runs that are used again once nobody holds anything of them.
const RUNS_KEPT: usize = 32;

/// Bytes on their way from one socket to another.
#[derive(Debug)]
pub(crate) struct Buffer {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The whole of it, to read into; only while it is empty.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        debug_assert!(self.is_empty(), "a buffer is refilled only when empty");
        &mut self.data
    }

    /// `n` bytes were read into [`Self::spare`].
    pub(crate) fn filled(&mut self, n: usize) {
        (self.start, self.end) = (0, n.min(self.data.len()));
    }

    /// What is to be written.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `n` bytes were written.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) const fn is_large(&self) -> bool {
        self.data.len() >= LARGE
    }
}

/// Memory that is handed over in pieces, and used again once nobody holds any of them.
#[derive(Debug, Default)]
struct Runs {
    current: Option<BytesMut>,
    /// Used up, the longest ago first.
    used: VecDeque<BytesMut>,
}

impl Runs {
    /// The run to go on with, if `fits`, or an empty one of `size` bytes.
    fn run(&mut self, size: usize, fits: impl FnOnce(&BytesMut) -> bool) -> &mut BytesMut {
        let current = match self.current.take() {
            Some(current) if fits(&current) => current,
            used_up => {
                let next = self.next(size);
                self.used.extend(used_up);
                next
            }
        };
        self.current.insert(current)
    }

    fn next(&mut self, size: usize) -> BytesMut {
        let mut used = self.used.iter_mut();
        let reclaimed = used.position(|run| {
            // What was left of it was not worth handing over.
            run.clear();
            run.try_reclaim(size)
        });
        if let Some(run) = reclaimed.and_then(|at| self.used.remove(at)) {
            return run;
        }
        if self.used.len() >= RUNS_KEPT {
            self.used.pop_front();
        }
        BytesMut::with_capacity(size)
    }
}

/// Boxed so that a lease is one pointer in the state of each connection.
type Unleased = Vec<Box<Buffer>>;

/// One thread's buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: RefCell<Unleased>,
    large: RefCell<Unleased>,
    received: RefCell<Runs>,
    /// Where short reads of relays are copied to.
    shared: RefCell<Runs>,
    leased: Cell<usize>,
}

impl Buffers {
    /// Buffers that somebody holds.
    pub(crate) const fn leased(&self) -> usize {
        self.leased.get()
    }

    /// Leases an empty buffer of [`SMALL`] bytes.
    pub(crate) fn small(&self) -> Box<Buffer> {
        self.lease(&self.small, SMALL)
    }

    /// Leases an empty buffer of [`LARGE`] bytes.
    pub(crate) fn large(&self) -> Box<Buffer> {
        self.lease(&self.large, LARGE)
    }

    fn lease(&self, kept: &RefCell<Unleased>, size: usize) -> Box<Buffer> {
        self.leased.set(self.leased.get() + 1);
        kept.borrow_mut().pop().unwrap_or_else(|| {
            Box::new(Buffer {
                data: vec![0; size].into_boxed_slice(),
                start: 0,
                end: 0,
            })
        })
    }

    /// Takes a buffer back, whatever is in it.
    pub(crate) fn give_back(&self, mut buffer: Box<Buffer>) {
        buffer.filled(0);
        self.leased.set(self.leased.get().saturating_sub(1));
        let kept = if buffer.is_large() {
            &self.large
        } else {
            &self.small
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }

    /// Runs `read` on a free run of at least [`HAND_OVER`] bytes and returns what it read as an
    /// owned segment.
    pub(crate) fn receive<E>(
        &self,
        read: impl FnOnce(&mut [u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<BytesMut, E>> {
        self.read(read, |short| BytesMut::from(short))
    }

    /// The same for a reader of many segments that does not keep them for long: short ones share
    /// memory, which is used again.
    pub(crate) fn receive_many<E>(
        &self,
        read: impl FnOnce(&mut [u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<BytesMut, E>> {
        self.read(read, |short| {
            let mut shared = self.shared.borrow_mut();
            let run = shared.run(SHARED, |run| run.capacity() >= short.len());
            run.extend_from_slice(short);
            run.split()
        })
    }

    fn read<E>(
        &self,
        read: impl FnOnce(&mut [u8]) -> Poll<Result<usize, E>>,
        copy: impl FnOnce(&[u8]) -> BytesMut,
    ) -> Poll<Result<BytesMut, E>> {
        let mut received = self.received.borrow_mut();
        let run = received.run(SMALL, |run| run.len() >= HAND_OVER);
        if run.is_empty() {
            // What is read into has to be initialised.
            run.resize(SMALL, 0);
        }
        let room = run.len();
        let n = ready!(read(run))?;
        Poll::Ready(Ok(if n < HAND_OVER {
            copy(run.get(..n).unwrap_or_default())
        } else {
            run.split_to(n.min(room))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_reads_are_copied_and_long_ones_handed_over() {
        let buffers = Buffers::default();
        let read = |n: usize| {
            let received = buffers.receive(|room| {
                let n = n.min(room.len());
                room[..n].fill(n as u8);
                Poll::Ready(Ok::<_, ()>(n))
            });
            let Poll::Ready(Ok(segment)) = received else {
                panic!("always ready, never fails");
            };
            segment
        };
        let short = read(100);
        assert_eq!(&short[..], &[100_u8; 100][..]);
        assert!(short.capacity() < 200, "a short segment pins no buffer");
        assert_eq!(read(HAND_OVER).len(), HAND_OVER);
        assert_eq!(read(usize::MAX).len(), SMALL - HAND_OVER);
        assert_eq!(read(SMALL).len(), SMALL, "a used-up run is replaced");
    }

    /// Runs that both kinds of readers hold at a time, and where they are.
    fn places(buffers: &Buffers, n: usize, read: usize) -> Vec<(BytesMut, *const u8)> {
        let received = || buffers.receive_many(|_| Poll::Ready(Ok::<_, ()>(read)));
        let segments = (0..n).map(|_| match received() {
            Poll::Ready(Ok(segment)) => (segment.as_ptr(), segment),
            Poll::Ready(Err(())) | Poll::Pending => panic!("always ready, never fails"),
        });
        segments.map(|(at, segment)| (segment, at)).collect()
    }

    #[test]
    fn runs_are_used_again_in_whatever_order_they_come_back() {
        for read in [SMALL, HAND_OVER - 1] {
            let buffers = Buffers::default();
            let mut held = places(&buffers, 5, read);
            let mut known: Vec<_> = held.iter().map(|(_, at)| *at).collect();
            drop(held.swap_remove(2));
            drop(held.swap_remove(0));
            let again = places(&buffers, 2, read);
            assert!(again.iter().all(|(_, at)| known.contains(at)));
            let new = places(&buffers, 1, read);
            assert!(!known.contains(&new[0].1), "all others are held");
            known.extend(new.iter().map(|(_, at)| at));
            drop((held, again, new));
            let again = places(&buffers, 6, read);
            assert!(again.iter().all(|(_, at)| known.contains(at)));
        }
    }

    #[test]
    fn no_more_runs_are_kept_than_their_limit() {
        let buffers = Buffers::default();
        drop(places(&buffers, 200, SMALL));
        assert_eq!(buffers.received.borrow().used.len(), RUNS_KEPT);
    }

    #[test]
    fn short_reads_of_relays_share_memory() {
        let buffers = Buffers::default();
        let pieces = places(&buffers, SHARED / 100, 100);
        let first = pieces[0].1;
        for (n, (piece, at)) in pieces.iter().enumerate() {
            assert_eq!((piece.len(), *at), (100, first.wrapping_add(n * 100)));
        }
        let next = places(&buffers, 1, 100);
        assert!(!(first..first.wrapping_add(SHARED)).contains(&next[0].1));
    }

    #[test]
    fn a_buffer_is_leased_again_after_it_was_given_back() {
        let buffers = Buffers::default();
        let mut buffer = buffers.large();
        buffer.spare()[..3].copy_from_slice(b"abc");
        buffer.filled(3);
        buffer.consume(1);
        assert_eq!(buffer.bytes(), b"bc");
        let at = buffer.bytes().as_ptr();
        assert_eq!(buffers.leased(), 1);
        buffers.give_back(buffer);
        assert_eq!(buffers.leased(), 0);
        let mut again = buffers.large();
        assert!(again.is_empty() && again.is_large());
        assert_eq!(again.spare().as_ptr(), at.wrapping_sub(1));
        assert!(!buffers.small().is_large());
    }
}
