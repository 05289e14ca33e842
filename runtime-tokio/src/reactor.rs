//! Sockets, time and threads of tokio.
use rustix::{
    io::read,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use sansbox_runtime::reactor::{Done, Interest, Io, Reactor, Sleep};
use std::{
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    task::{coop::unconstrained, spawn_local},
};

/// Polls of the worker between looks at the sockets. The last finds nothing to do, as a rule, and
/// then tokio waits; with fewer it would look once more before.
const EVENT_INTERVAL: u32 = 3;

/// A time that never comes, for one that the kernel cannot count to.
const LONGEST: Timespec = Timespec {
    tv_sec: i32::MAX as i64,
    tv_nsec: 0,
};

/// tokio, with one thread.
#[derive(Debug)]
pub enum Executor {}

impl Reactor for Executor {
    type Io = Watched;
    type Sleep = Alarm;

    fn run<F: Future<Output: 'static> + 'static>(worker: F) -> io::Result<F::Output> {
        let runtime = Builder::new_current_thread()
            .enable_io()
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

    /// tokio takes an error alone for an end of writing. Mere room to write, which a device always
    /// has, can be forgotten, and an end cannot.
    fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..2 {
            // Fails only when tokio shuts down, and then nobody is to go on.
            let _ = ready!(self.0.poll_write_ready(cx));
            let forget = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.0.try_io(tokio::io::Interest::WRITABLE, forget);
        }
        Poll::Ready(())
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

/// Waits until a time, by a file that tokio watches like a socket: with tokio's own timers it reads
/// the clock and looks at its wheel around every wait, whether or not one is set.
#[derive(Debug)]
pub struct Alarm {
    file: Watched,
    at: Option<Instant>,
}

impl Sleep for Alarm {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let file = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            file: Watched::new(file, false)?,
            at: None,
        })
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        match self.poll_fired(cx, at, left) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // Fails only when tokio shuts down, and then nobody is to go on.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Alarm {
    fn poll_fired(
        &mut self,
        cx: &mut Context<'_>,
        at: Instant,
        left: Duration,
    ) -> Poll<io::Result<()>> {
        if self.at != Some(at) {
            let expiry = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec::try_from(left).unwrap_or(LONGEST),
            };
            timerfd_settime(&self.file, TimerfdTimerFlags::empty(), &expiry)?;
            self.at = Some(at);
        }
        let read = || Ok(Done::more(read(&self.file, &mut [0; 8])?));
        ready!(self.file.poll_io(cx, Interest::Read, read))?;
        self.at = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn an_alarm_moves_both_ways_and_is_never_early() {
        let test = async {
            let mut alarm = Alarm::new().expect("a timer");
            let begun = Instant::now();
            let (near, far) = (Duration::from_millis(20), Duration::from_hours(1));
            for _ in 0..2 {
                let is_far = poll_fn(|cx| Poll::Ready(alarm.poll_until(cx, begun + far)));
                assert!(is_far.await.is_pending());
                poll_fn(|cx| alarm.poll_until(cx, begun + near)).await;
                assert!(begun.elapsed() >= near);
            }
            let later = Instant::now() + near;
            poll_fn(|cx| alarm.poll_until(cx, later)).await;
            assert!(Instant::now() >= later, "an alarm that fired is set anew");
        };
        Executor::run(test).expect("tokio");
    }
}
