//! The load generators: threads with blocking sockets, the same for every subject. The client and
//! the far end live in this process, so the proxy is the only other party, and only the proxy's
//! processor time is counted.

pub(crate) mod bulk;
pub(crate) mod conn;
pub(crate) mod fixed;
pub(crate) mod idle;
#[cfg(test)]
mod tests;
pub(crate) mod trip;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::process;
use crate::socks::Way;

/// Longest wait of any one socket call of the generator.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Enough for every generator thread to connect at once.
const BACKLOG: i32 = 4096;
/// The generator's threads keep their buffers on the heap.
const STACK_BYTES: usize = 128 * 1024;

/// The proxy under load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// How to go through it.
    pub(crate) way: Way,
    /// Whose processor time and memory count.
    pub(crate) pid: Pid,
}

/// What happened between the two ends of a timed window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Of the proxy.
    cpu: Duration,
    elapsed: Duration,
    /// By how much the counter rose.
    count: u64,
}

impl Window {
    /// Lets `warm_up` pass, then watches the counter and the proxy for `length`.
    pub(crate) fn watch(
        pid: Pid,
        warm_up: Duration,
        length: Duration,
        counter: impl Fn() -> u64,
    ) -> Result<Self> {
        thread::sleep(warm_up);
        let (count, cpu, started) = (counter(), process::cpu_time(pid)?, Instant::now());
        thread::sleep(length);
        let elapsed = started.elapsed();
        let window = Self {
            cpu: process::cpu_time(pid)?.saturating_sub(cpu),
            elapsed,
            count: counter().saturating_sub(count),
        };
        if window.count == 0 {
            bail!("nothing came through in {elapsed:?}");
        }
        if window.cpu.is_zero() {
            bail!("the proxy used no processor time, so the load went another way");
        }
        Ok(window)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a few seconds are below 2^52"
    )]
    fn count(&self) -> f64 {
        self.count as f64
    }

    /// How often it happened in a second.
    fn rate(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64()
    }

    /// Processor time of the proxy for each, in microseconds.
    fn cpu_each_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count()
    }
}

/// A listener on loopback and its address. Accepted sockets inherit what is set on it here: bounded
/// waits, `NODELAY`, and RST on close.
pub(crate) fn listen() -> io::Result<(TcpListener, SocketAddrV4)> {
    listen_on(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
}

/// The same on another address.
pub(crate) fn listen_on(address: SocketAddrV4) -> io::Result<(TcpListener, SocketAddrV4)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddr::V4(address).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    match listener.local_addr()? {
        SocketAddr::V4(address) => Ok((listener, address)),
        SocketAddr::V6(_) => Err(io::Error::other("an IPv4 listener has an IPv6 address")),
    }
}

/// Both ends of a stream through the proxy.
#[derive(Debug)]
struct Pair {
    client: TcpStream,
    sink: TcpStream,
}

/// `streams` streams through the proxy, one after the other so that the ends match.
fn pairs(way: Way, streams: usize) -> Result<Vec<Pair>> {
    let (listener, address) = listen()?;
    let pair = |_| {
        let client = way.connect(address).context("connect through the proxy")?;
        let (sink, _) = listener
            .accept()
            .context("the proxy has not dialled the far end")?;
        Ok(Pair { client, sink })
    };
    (0..streams).map(pair).collect()
}

/// Ends the streams when dropped, so that threads blocked on them return.
#[derive(Debug)]
struct HangUp<'a>(&'a [Pair]);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        for pair in self.0 {
            let _ = pair.client.shutdown(Shutdown::Both);
            let _ = pair.sink.shutdown(Shutdown::Both);
        }
    }
}

/// Sets the flag and wakes the threads in `accept` when dropped.
#[derive(Debug)]
struct Stop<'a> {
    flag: &'a AtomicBool,
    listener: &'a TcpListener,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
        let _ = SockRef::from(self.listener).shutdown(Shutdown::Both);
    }
}

/// A generator thread within `scope`.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<thread::ScopedJoinHandle<'scope, T>> {
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn_scoped(scope, work)
}
