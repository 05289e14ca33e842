//! Two connections joined: whatever comes from one goes to the other, until both have ended.
//!
//! Between two sockets bytes are copied through a leased buffer first, which is cheapest for small
//! exchanges. A direction that moves much in a burst is spliced through a leased conduit. Either is
//! given back when the source has nothing more; only bytes that the other side does not take yet
//! keep their place.
//!
//! Where one end is a joint, nothing is held in between: a socket is read into a segment that the
//! joint keeps, the segments of a joint are written as they lie, and between two joints they change
//! hands.
use super::{
    Conduit as _, Driver, Pool, Sockets,
    buffers::{Buffer, Buffers, SMALL},
    link::Link,
    stream::Stream,
};
use crate::ids::Slot;
use core::task::{Poll, ready};
use std::io::{self, IoSlice};

/// Bytes in a burst after which a direction is spliced.
const SPLICE_AFTER: u32 = 128 * 1024;
/// Bytes that a turn has to move for a burst to go on; those of another turn make up for a lack.
/// Looking at a single turn would not do: what a sender writes at once is cut into segments, so
/// that a few bytes of each write may come by themselves. A turn that moved nothing does not count:
/// it may belong to the other direction.
const BULK_WAKE: u32 = 16 * 1024;
/// What a burst is counted up to: a few little turns are enough to end a long one.
const BURST_MAX: u32 = 2 * SPLICE_AFTER;
/// Bytes that a direction moves before others get their turn.
const TURN_COPIED: usize = 2 * 1024 * 1024;
/// The same when it splices: a few milliseconds at the speed of memory, and never reached by what
/// comes over a network. Changing streams more often costs up to half of the throughput, since
/// each change wakes two other processes.
const TURN_SPLICED: usize = 16 * 1024 * 1024;

/// Two joined connections; small, because every idle connection has one.
pub(crate) struct Relay<K: Sockets> {
    pub(crate) up: Direction<K>,
    pub(crate) down: Direction<K>,
}

impl<K: Sockets> Relay<K> {
    pub(crate) const fn new(a: Slot, b: Slot) -> Self {
        Self {
            up: Direction::new(a, b),
            down: Direction::new(b, a),
        }
    }

    /// Is this one of the two?
    pub(crate) fn joins(&self, slot: Slot) -> bool {
        slot == self.up.from || slot == self.up.to
    }

    /// Gives back what is held; bytes in it are lost.
    pub(crate) fn release(&mut self, driver: &mut impl Driver<K>, buffers: &Buffers) {
        self.up.release(driver, buffers);
        self.down.release(driver, buffers);
    }
}

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The FIN was forwarded behind the last byte, or goes with the close that is due.
    Forwarded,
    /// This connection is dead.
    Reset(Slot),
}

/// What a direction did in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// All there was.
    Everything,
    /// As much as is fair; there is more.
    Enough,
    /// It came to its end.
    Over(Over),
}

/// Where bytes are between two sockets.
enum Held<K: Sockets> {
    Nothing,
    Buffer(Box<Buffer>),
    Conduit(K::Conduit),
    /// Nothing, and nothing will come.
    Over,
}

/// One direction of a relay.
pub(crate) struct Direction<K: Sockets> {
    pub(crate) from: Slot,
    pub(crate) to: Slot,
    /// Bytes of the burst that goes on between sockets, less [`BULK_WAKE`] for each turn.
    burst: u32,
    held: Held<K>,
    /// Bytes moved and not reported yet.
    moved: u64,
}

impl<K: Sockets> Direction<K> {
    const fn new(from: Slot, to: Slot) -> Self {
        Self {
            from,
            to,
            burst: 0,
            held: Held::Nothing,
            moved: 0,
        }
    }

    /// There is nothing more to do.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.held, Held::Over)
    }

    /// Bytes moved since the last call.
    pub(crate) const fn take_moved(&mut self) -> u64 {
        core::mem::replace(&mut self.moved, 0)
    }

    /// Moves what can be moved now. `from` and `to` are the streams of its slots. `is_last`: the
    /// other direction is over, so that a socket is closed behind the last byte and needs no FIN
    /// of its own before.
    pub(crate) fn turn(
        &mut self,
        driver: &mut impl Driver<K>,
        pool: &Pool,
        from: &mut Stream<K::Stream>,
        to: &mut Stream<K::Stream>,
        is_last: bool,
    ) -> Moved {
        let mut turn = 0;
        let mut is_writable = false;
        let is_kernel = from.link.joint().is_none() && to.link.joint().is_none();
        let over = loop {
            match self.poll_flush(driver, pool, &mut to.link) {
                Poll::Pending => return Moved::Everything,
                Poll::Ready(Err(_)) => break Over::Reset(self.to),
                Poll::Ready(Ok(())) => {}
            }
            if from.ended {
                if is_last && is_kernel {
                    break Over::Forwarded;
                }
                break match to.shut(driver) {
                    Ok(()) => Over::Forwarded,
                    Err(_) => Over::Reset(self.to),
                };
            }
            let turn_max = match self.held {
                Held::Conduit(_) => TURN_SPLICED,
                Held::Nothing | Held::Buffer(_) | Held::Over => TURN_COPIED,
            };
            if turn >= turn_max {
                self.release(driver, &pool.buffers);
                return Moved::Enough;
            }
            // What the other side would not take is better left where it is. A socket is asked
            // once: a write that finds it full ends the turn.
            if !is_writable {
                match to.link.poll_writable(driver) {
                    Poll::Pending => return self.rest(driver, pool, turn),
                    Poll::Ready(Err(_)) => break Over::Reset(self.to),
                    Poll::Ready(Ok(())) => is_writable = to.link.joint().is_none(),
                }
            }
            let came = if is_kernel {
                let filled = self.poll_fill(driver, pool, from);
                filled.map_err(|_| self.from)
            } else {
                self.poll_pass(driver, pool, from, &mut to.link)
            };
            match came {
                Poll::Pending => return self.rest(driver, pool, turn),
                Poll::Ready(Err(dead)) => break Over::Reset(dead),
                Poll::Ready(Ok(n)) => turn += n,
            }
        };
        self.release(driver, &pool.buffers);
        self.held = Held::Over;
        Moved::Over(over)
    }

    /// Nothing more can be moved now, after `turn` bytes.
    fn rest(&mut self, driver: &mut impl Driver<K>, pool: &Pool, turn: usize) -> Moved {
        if turn > 0 {
            self.burst = self.burst.saturating_sub(BULK_WAKE);
        }
        self.release(driver, &pool.buffers);
        Moved::Everything
    }

    /// Writes what is held until nothing is left.
    fn poll_flush(
        &mut self,
        driver: &mut impl Driver<K>,
        pool: &Pool,
        to: &mut Link<K::Stream>,
    ) -> Poll<io::Result<()>> {
        loop {
            let (written, counter) = match &mut self.held {
                Held::Buffer(buffer) if !buffer.is_empty() => {
                    let bytes = [IoSlice::new(buffer.bytes())];
                    let written = ready!(to.poll_write(driver, &bytes))?;
                    buffer.consume(written);
                    (written, &pool.tally.copied)
                }
                Held::Conduit(conduit) if conduit.filled() > 0 => {
                    let to = to.socket().ok_or(io::ErrorKind::Unsupported)?;
                    let written = ready!(driver.poll_splice_out(conduit, to))?;
                    (written, &pool.tally.spliced)
                }
                Held::Nothing | Held::Buffer(_) | Held::Conduit(_) | Held::Over => {
                    return Poll::Ready(Ok(()));
                }
            };
            self.moved += written as u64;
            counter.add(written as u64);
        }
    }

    /// Reads something into an empty buffer or conduit, or the end.
    fn poll_fill(
        &mut self,
        driver: &mut impl Driver<K>,
        pool: &Pool,
        from: &mut Stream<K::Stream>,
    ) -> Poll<io::Result<usize>> {
        let socket = from.link.socket().ok_or(io::ErrorKind::Unsupported)?;
        if matches!(self.held, Held::Nothing) {
            ready!(driver.poll_readable(socket))?;
        }
        let n = match self.hold(driver, &pool.buffers) {
            Held::Nothing | Held::Over => 0,
            Held::Buffer(buffer) => {
                let n = ready!(driver.poll_read(socket, buffer.spare()))?;
                buffer.filled(n);
                n
            }
            Held::Conduit(conduit) => ready!(driver.poll_splice_in(socket, conduit))?,
        };
        from.ended = n == 0;
        let burst = u32::try_from(n).unwrap_or(u32::MAX);
        self.burst = self.burst.saturating_add(burst).min(BURST_MAX);
        Poll::Ready(Ok(n))
    }

    /// Moves something from or to a joint, or finds the end. `to` is writable; an error is the slot
    /// that is dead.
    fn poll_pass(
        &mut self,
        driver: &mut impl Driver<K>,
        pool: &Pool,
        from: &mut Stream<K::Stream>,
        to: &mut Link<K::Stream>,
    ) -> Poll<Result<usize, Slot>> {
        let n = match (&mut from.link, to) {
            (Link::Joint(joint), Link::Socket(socket)) => {
                ready!(joint.poll_readable()).map_err(|_| self.from)?;
                let written = joint.poll_write_out(|bytes| driver.poll_write(socket, bytes));
                ready!(written).map_err(|_| self.to)?
            }
            (link, to) => {
                let segment = match link {
                    Link::Socket(socket) => {
                        let read = |room: &mut [u8]| driver.poll_read(socket, room);
                        pool.buffers.receive_many(read)
                    }
                    Link::Joint(joint) => joint.poll_segment(SMALL),
                };
                let segment = ready!(segment).map_err(|_| self.from)?;
                let n = segment.len();
                let joint = to.joint().ok_or(self.to)?;
                if n > 0 {
                    joint.push(segment);
                }
                n
            }
        };
        from.ended = n == 0;
        self.moved += n as u64;
        pool.tally.copied.add(n as u64);
        Poll::Ready(Ok(n))
    }

    /// What to read into: as far into a burst as this is.
    fn hold(&mut self, driver: &mut impl Driver<K>, buffers: &Buffers) -> &mut Held<K> {
        let is_bulk = self.burst >= SPLICE_AFTER;
        let fits = match &self.held {
            Held::Nothing => false,
            Held::Buffer(buffer) => buffer.is_large() || !is_bulk,
            Held::Conduit(_) | Held::Over => true,
        };
        if !fits {
            self.release(driver, buffers);
            self.held = if !is_bulk {
                Held::Buffer(buffers.small())
            } else if let Some(conduit) = driver.lease_conduit() {
                Held::Conduit(conduit)
            } else {
                Held::Buffer(buffers.large())
            };
        }
        &mut self.held
    }

    fn release(&mut self, driver: &mut impl Driver<K>, buffers: &Buffers) {
        match core::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing | Held::Over => {}
            Held::Buffer(buffer) => buffers.give_back(buffer),
            Held::Conduit(conduit) => driver.return_conduit(conduit),
        }
    }
}
