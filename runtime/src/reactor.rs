//! What an executor gives: waiting for sockets and for time.
use core::{
    future::Future,
    task::{Context, Poll, ready},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

/// An executor's reactor. Types only: it is never made.
pub trait Reactor: 'static {
    /// A socket that the reactor watches.
    type Io: Io;
    /// Waits until a time.
    type Sleep: Sleep;

    /// Runs a worker on this thread, which has nothing else to do, until it is done.
    ///
    /// # Errors
    /// When the executor cannot be started.
    fn run<F: Future<Output: 'static> + 'static>(worker: F) -> io::Result<F::Output>;
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Interest {
    Read,
    Write,
}

/// What an operation on a socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// Its result.
    pub value: T,
    /// The next operation of that kind would block, so the reactor need not try: a read did not
    /// fill its buffer, or a write did not take everything.
    pub is_drained: bool,
}

impl<T> Done<T> {
    /// There may be more.
    pub const fn more(value: T) -> Self {
        Self {
            value,
            is_drained: false,
        }
    }
}

/// A socket that a reactor watches. Dropping it closes the socket.
pub trait Io: AsFd + Sized + 'static {
    /// Begins to watch a socket of any kind, which does not block. `is_writable` says that a write
    /// may be tried at once; a connection on its way has to wait.
    ///
    /// # Errors
    /// When the reactor cannot watch it.
    fn new(socket: OwnedFd, is_writable: bool) -> io::Result<Self>;

    /// Waits until an operation may not block.
    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>>;

    /// Tries an operation on the socket, once. `WouldBlock` is remembered, and so is that it is
    /// [drained](Done::is_drained): [`Self::poll_ready`] waits then.
    ///
    /// # Errors
    /// Those of the operation.
    fn try_io<V>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<Done<V>>,
    ) -> io::Result<V>;

    /// Waits until the file behind a device may be gone, which only reading tells for sure; to be
    /// asked when there was nothing to read. For reactors whose [`Self::poll_ready`] does not see
    /// it: a file that Linux reports to have an error, and nothing to read.
    fn poll_lost(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Does an operation on the socket as soon as it does not block.
    fn poll_io<V>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut operation: impl FnMut() -> io::Result<Done<V>>,
    ) -> Poll<io::Result<V>> {
        loop {
            ready!(self.poll_ready(cx, interest))?;
            match self.try_io(interest, &mut operation) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Waits until a time.
pub trait Sleep: Sized + Unpin + 'static {
    /// Waits for nothing yet. It has all that it will need: waiting itself cannot fail.
    ///
    /// # Errors
    /// When the reactor cannot watch more.
    fn new() -> io::Result<Self>;

    /// Ready at `at` or later; it may be another time than at the last call.
    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()>;
}
