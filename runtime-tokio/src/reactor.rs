//! Sockets, time and threads of tokio.
use sansbox_runtime::reactor::{Done, Interest, Io, Reactor, Sleep};
use std::{
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    task::{coop::unconstrained, spawn_local},
    time,
};

/// Polls of the worker between looks at the sockets. The last finds nothing to do, as a rule, and
/// then tokio waits; with fewer it would look once more before.
const EVENT_INTERVAL: u32 = 3;

/// tokio, with one thread.
#[derive(Debug)]
pub enum Executor {}

impl Reactor for Executor {
    type Io = Watched;
    type Sleep = Alarm;

    fn run<F: Future<Output: 'static> + 'static>(worker: F) -> io::Result<F::Output> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .event_interval(EVENT_INTERVAL)
            .build_local(LocalOptions::default())?;
        // A task of its own, because waking what `block_on` waits for costs a system call. Turns
        // bound what one wake-up does; tokio's own budget would cut a turn short, and allocates
        // when it does.
        let worker = async { spawn_local(unconstrained(worker)).await };
        Ok(runtime.block_on(worker)?)
    }
}

/// A socket that tokio watches. As a stream whatever it is: tokio looks at the file alone, and
/// watches files of no kind in safe code.
#[derive(Debug)]
pub struct Watched(TcpStream);

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Io for Watched {
    fn new(socket: OwnedFd, _is_writable: bool) -> io::Result<Self> {
        // The first event comes at once and says what can be done.
        Ok(Self(TcpStream::from_std(socket.into())?))
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        match interest {
            Interest::Read => self.0.poll_read_ready(cx),
            Interest::Write => self.0.poll_write_ready(cx),
        }
    }

    fn try_io<V>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<Done<V>>,
    ) -> io::Result<V> {
        let kind = match interest {
            Interest::Read => tokio::io::Interest::READABLE,
            Interest::Write => tokio::io::Interest::WRITABLE,
        };
        let mut last = None;
        let tried = self.0.try_io(kind, || {
            let Done { value, is_drained } = operation()?;
            if is_drained {
                // Makes tokio wait for the next event; an end that was seen stays seen.
                last = Some(value);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(value)
        });
        last.map_or(tried, Ok)
    }
}

/// Waits until a time.
#[derive(Debug)]
pub struct Alarm(Option<Pin<Box<time::Sleep>>>);

impl Sleep for Alarm {
    fn new() -> Self {
        Self(None)
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = time::Instant::from_std(at);
        let fresh = || Box::pin(time::sleep_until(at));
        let sleep = self.0.get_or_insert_with(fresh);
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
