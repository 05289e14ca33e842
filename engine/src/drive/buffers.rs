//! Buffers that are leased only while bytes move.
use bytes::BytesMut;
use core::{
    cell::{Cell, RefCell},
    task::{Poll, ready},
};

/// Bytes of an ordinary buffer.
pub(crate) const SMALL: usize = 64 * 1024;
/// Bytes of a buffer for bulk that cannot be spliced.
pub(crate) const LARGE: usize = 256 * 1024;
/// Unleased buffers kept of each size.
const KEPT: usize = 16;
/// A received run of at least so many bytes is handed over as it lies; a shorter one is copied
/// out, so that what a machine keeps never pins much more than it holds.
const HAND_OVER: usize = SMALL / 4;

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

/// Boxed so that a lease is one pointer in the state of each connection.
type Unleased = Vec<Box<Buffer>>;

/// One thread's buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: RefCell<Unleased>,
    large: RefCell<Unleased>,
    received: RefCell<BytesMut>,
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
        let mut run = self.received.borrow_mut();
        if run.len() < HAND_OVER {
            *run = BytesMut::zeroed(SMALL);
        }
        let room = run.len();
        let n = ready!(read(&mut run))?;
        Poll::Ready(Ok(if n < HAND_OVER {
            BytesMut::from(run.get(..n).unwrap_or_default())
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
