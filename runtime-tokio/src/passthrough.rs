//! Two connections joined: whatever comes from one goes to the other, until both have ended.
//!
//! Bytes are copied through a leased buffer first, which is cheapest for small exchanges. A
//! direction that moves much in a burst is spliced through a leased kernel pipe. Either is given
//! back when the source has nothing more; only bytes that the other side does not take yet keep
//! their place.
use crate::{
    buffers::{Buffer, Buffers},
    counters::Tally,
    pipes::{KernelPipe, KernelPipes, PIPE_SIZE},
    slots::{Stream, is_retry, mark_drained},
};
use rustix::pipe::{SpliceFlags, splice};
use sansbox_engine::ids::Slot;
use std::{
    io,
    task::{Context, Poll, ready},
};
use tokio::{io::Interest, net::TcpStream};

/// Bytes in a burst after which a direction is spliced.
const SPLICE_AFTER: u32 = 128 * 1024;
/// A wake-up that moved less than this ends a burst.
const BULK_WAKE: usize = 16 * 1024;
/// Bytes that a direction copies before others get their turn.
const TURN_COPIED: usize = 2 * 1024 * 1024;
/// The same when it splices: a few milliseconds at the speed of memory, and never reached by what
/// comes over a network. Changing streams more often costs up to half of the throughput, since
/// each change wakes two other processes.
const TURN_SPLICED: usize = 16 * 1024 * 1024;

/// Where a worker's relays take their buffers and pipes from.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) buffers: Buffers,
    pub(crate) pipes: KernelPipes,
}

/// Two joined connections; small, because every idle connection has one.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) up: Direction,
    pub(crate) down: Direction,
}

impl Relay {
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
    pub(crate) fn release(&mut self, stores: &Stores) {
        self.up.release(stores);
        self.down.release(stores);
    }
}

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The FIN was forwarded behind the last byte.
    Forwarded,
    /// This connection is dead.
    Reset(Slot),
}

/// Where bytes are between two sockets.
#[derive(Debug)]
enum Held {
    Nothing,
    Buffer(Box<Buffer>),
    Pipe(Box<KernelPipe>),
    /// Nothing, and nothing will come.
    Over,
}

/// One direction of a relay.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(crate) from: Slot,
    pub(crate) to: Slot,
    /// Bytes of the burst that goes on.
    burst: u32,
    held: Held,
    /// Bytes moved and not reported yet.
    moved: u64,
}

impl Direction {
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

    /// Moves what can be moved now. Ready at the end of the direction; `from` and `to` are the
    /// streams of its slots.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        stores: &Stores,
        tally: &Tally,
    ) -> Poll<Over> {
        let mut turn = 0;
        let over = loop {
            match self.poll_flush(cx, &to.tcp, tally) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => break Over::Reset(self.to),
                Poll::Ready(Ok(())) => {}
            }
            if from.ended {
                break match to.shut() {
                    Ok(()) => Over::Forwarded,
                    Err(_) => Over::Reset(self.to),
                };
            }
            let turn_max = match self.held {
                Held::Pipe(_) => TURN_SPLICED,
                Held::Nothing | Held::Buffer(_) | Held::Over => TURN_COPIED,
            };
            if turn >= turn_max {
                self.release(stores);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_fill(cx, from, &to.tcp, stores) {
                Poll::Pending => {
                    if turn < BULK_WAKE {
                        self.burst = 0;
                    }
                    self.release(stores);
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => break Over::Reset(self.from),
                Poll::Ready(Ok(n)) => turn += n,
            }
        };
        self.release(stores);
        self.held = Held::Over;
        Poll::Ready(over)
    }

    /// Writes what is held until nothing is left.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &TcpStream,
        tally: &Tally,
    ) -> Poll<io::Result<()>> {
        loop {
            let (left, counter) = match &self.held {
                Held::Nothing | Held::Over => (0, &tally.copied),
                Held::Buffer(buffer) => (buffer.bytes().len(), &tally.copied),
                Held::Pipe(pipe) => (pipe.filled, &tally.spliced),
            };
            if left == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(to.poll_write_ready(cx))?;
            let written = match &mut self.held {
                Held::Nothing | Held::Over => Ok(0),
                Held::Buffer(buffer) => {
                    let written = to.try_write(buffer.bytes());
                    buffer.consume(*written.as_ref().unwrap_or(&0));
                    written
                }
                Held::Pipe(pipe) => {
                    let written = to.try_io(Interest::WRITABLE, || {
                        Ok(splice(&pipe.reader, None, to, None, left, FLAGS)?)
                    });
                    pipe.filled -= written.as_ref().unwrap_or(&0);
                    written
                }
            };
            match written {
                Ok(n) => {
                    self.moved += n as u64;
                    counter.add(n as u64);
                }
                Err(e) if is_retry(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Reads something into an empty buffer or pipe, or the end.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &TcpStream,
        stores: &Stores,
    ) -> Poll<io::Result<usize>> {
        // What the other side would not take is better left in the kernel.
        ready!(to.poll_write_ready(cx))?;
        loop {
            ready!(from.tcp.poll_read_ready(cx))?;
            let read = match self.hold(stores) {
                Held::Nothing | Held::Over => Ok(0),
                Held::Buffer(buffer) => {
                    let room = buffer.spare().len();
                    let read = from.tcp.try_read(buffer.spare());
                    let n = *read.as_ref().unwrap_or(&0);
                    buffer.filled(n);
                    if (1..room).contains(&n) {
                        mark_drained(&from.tcp);
                    }
                    read
                }
                Held::Pipe(pipe) => {
                    // The pipe is empty, so this blocks only for want of bytes. A short splice
                    // does not mean that the socket is empty: the pipe's places may be used up.
                    let read = from.tcp.try_io(Interest::READABLE, || {
                        let tcp = &from.tcp;
                        Ok(splice(tcp, None, &pipe.writer, None, PIPE_SIZE, FLAGS)?)
                    });
                    pipe.filled = *read.as_ref().unwrap_or(&0);
                    read
                }
            };
            match read {
                Ok(n) => {
                    from.ended = n == 0;
                    self.burst = self
                        .burst
                        .saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
                    return Poll::Ready(Ok(n));
                }
                Err(e) if is_retry(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// What to read into: as far into a burst as this is.
    fn hold(&mut self, stores: &Stores) -> &mut Held {
        let is_bulk = self.burst >= SPLICE_AFTER;
        let fits = match &self.held {
            Held::Nothing => false,
            Held::Buffer(buffer) => buffer.is_large() || !is_bulk,
            Held::Pipe(_) | Held::Over => true,
        };
        if !fits {
            self.release(stores);
            self.held = if !is_bulk {
                Held::Buffer(stores.buffers.small())
            } else if let Some(pipe) = stores.pipes.lease() {
                Held::Pipe(pipe)
            } else {
                Held::Buffer(stores.buffers.large())
            };
        }
        &mut self.held
    }

    fn release(&mut self, stores: &Stores) {
        match core::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing | Held::Over => {}
            Held::Buffer(buffer) => stores.buffers.give_back(buffer),
            Held::Pipe(pipe) => stores.pipes.give_back(pipe),
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
