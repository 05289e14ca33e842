//! Sockets, time and threads of async-io.
use async_io::{Async, Timer, block_on};
use sansbox_runtime::reactor::{Done, Interest, Io, Reactor, Sleep};
use std::{
    cell::Cell,
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

/// smol, with one thread: a worker polls its own sessions, so all it needs is the reactor.
#[derive(Debug)]
pub enum Executor {}

impl Reactor for Executor {
    type Io = Watched;
    type Sleep = Alarm;

    fn run<F: Future<Output: 'static> + 'static>(worker: F) -> io::Result<F::Output> {
        Ok(block_on(worker))
    }
}

/// A socket that async-io watches.
///
/// async-io remembers no readiness: it is asked to watch a socket each time, which costs a system
/// call. So what is known is kept here, and it is asked only when an operation would block.
#[derive(Debug)]
pub struct Watched {
    socket: Async<OwnedFd>,
    may_read: Cell<bool>,
    may_write: Cell<bool>,
}

impl Watched {
    const fn may(&self, interest: Interest) -> &Cell<bool> {
        match interest {
            Interest::Read => &self.may_read,
            Interest::Write => &self.may_write,
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Io for Watched {
    fn new(socket: OwnedFd, is_writable: bool) -> io::Result<Self> {
        Ok(Self {
            socket: Async::new_nonblocking(socket)?,
            may_read: Cell::new(false),
            may_write: Cell::new(is_writable),
        })
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        let may = self.may(interest);
        if !may.get() {
            ready!(match interest {
                Interest::Read => self.socket.poll_readable(cx),
                Interest::Write => self.socket.poll_writable(cx),
            })?;
            may.set(true);
        }
        Poll::Ready(Ok(()))
    }

    fn try_io<V>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<Done<V>>,
    ) -> io::Result<V> {
        let done = operation();
        let may = match &done {
            Ok(done) => !done.is_drained,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        };
        self.may(interest).set(may);
        Ok(done?.value)
    }
}

/// Waits until a time.
#[derive(Debug)]
pub struct Alarm {
    timer: Timer,
    at: Option<Instant>,
}

impl Sleep for Alarm {
    fn new() -> io::Result<Self> {
        Ok(Self {
            timer: Timer::never(),
            at: None,
        })
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.at != Some(at) {
            self.timer.set_at(at);
            self.at = Some(at);
        }
        let fired = Pin::new(&mut self.timer).poll(cx);
        if fired.is_ready() {
            // A timer that has fired is set anew, also to the same time.
            self.at = None;
        }
        fired.map(drop)
    }
}
