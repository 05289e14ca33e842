//! Sockets, time and threads of async-io.
use async_io::{Async, Timer, block_on};
use futures_util::task::AtomicWaker;
use sansbox_runtime::reactor::{Done, Interest, Io, Reactor, Sleep};
use std::{
    cell::{Cell, OnceCell},
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
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
    reading: Way,
    writing: Way,
}

/// What is known of one way.
#[derive(Debug)]
struct Way {
    /// An operation may not block.
    may: Cell<bool>,
    /// Made when somebody waits for the first time.
    told: OnceCell<(Arc<Told>, Waker)>,
}

impl Way {
    const fn new(may: bool) -> Self {
        Self {
            may: Cell::new(may),
            told: OnceCell::new(),
        }
    }

    fn told(&self) -> &(Arc<Told>, Waker) {
        self.told.get_or_init(|| {
            let told = Arc::new(Told::default());
            (Arc::clone(&told), Waker::from(told))
        })
    }
}

/// Somebody was woken. async-io does not count an event that another thread got in the round in which
/// it was asked for, though it wakes who waits; who trusts its word alone may be told so for ever,
/// while that thread always waits when it is asked.
#[derive(Debug, Default)]
struct Told {
    is_woken: AtomicBool,
    waker: AtomicWaker,
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Watched {
    const fn way(&self, interest: Interest) -> &Way {
        match interest {
            Interest::Read => &self.reading,
            Interest::Write => &self.writing,
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
            reading: Way::new(false),
            writing: Way::new(is_writable),
        })
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        let way = self.way(interest);
        if way.may.get() {
            return Poll::Ready(Ok(()));
        }
        let (told, waker) = way.told();
        told.waker.register(cx.waker());
        if !told.is_woken.swap(false, Ordering::Acquire) {
            let mut cx = Context::from_waker(waker);
            let ready = match interest {
                Interest::Read => self.socket.poll_readable(&mut cx),
                Interest::Write => self.socket.poll_writable(&mut cx),
            };
            match ready {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Poll::Pending,
            }
        }
        way.may.set(true);
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
        self.way(interest).may.set(may);
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
