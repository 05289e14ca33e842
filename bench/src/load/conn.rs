//! New connections: connect, SOCKS5 handshake, one byte each way, close with RST.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use super::{Stop, Target, Window, listen, spawn};
use crate::socks::Way;

/// Clients that connect one after the other, each for itself.
const CLIENTS: usize = 16;
/// More than clients, because the far end of a connection ends a little after the near one.
const SINKS: usize = 4 * CLIENTS;
const WARM_UP: Duration = Duration::from_millis(300);
/// Of a thousand connections, this many may fail before the figure is worthless.
const FAILURES_PER_MILLE: u64 = 5;

/// What a window of connections gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conn {
    /// Processor time of the proxy for one connection from accept to close, in microseconds.
    pub(crate) cpu_us: f64,
    /// Connections a second.
    pub(crate) rate: f64,
}

/// Opens and closes connections for `length`.
pub(crate) fn run(target: Target, length: Duration) -> Result<Conn> {
    let (listener, address) = listen()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopping = Stop {
            flag: &stop,
            listener: &listener,
        };
        for _ in 0..SINKS {
            spawn(scope, || serve(&listener, &stop))?;
        }
        visits(target.pid, length, || Ok(()), || visit(target.way, address))
    })
}

/// Has clients make visits, one after the other and each for itself, for `length`. `begin` runs
/// first in each client's thread.
pub(crate) fn visits(
    pid: Pid,
    length: Duration,
    begin: impl Fn() -> Result<()> + Sync,
    visit: impl Fn() -> io::Result<()> + Sync,
) -> Result<Conn> {
    let (done, failed, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let client = || -> Result<()> {
        begin()?;
        while !stop.load(Ordering::Relaxed) {
            let counter = if visit().is_ok() { &done } else { &failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let window = thread::scope(|scope| {
        let clients: io::Result<Vec<_>> = (0..CLIENTS).map(|_| spawn(scope, client)).collect();
        let window = clients.map(|clients| {
            let read = || done.load(Ordering::Relaxed);
            (Window::watch(pid, WARM_UP, length, read), clients)
        });
        stop.store(true, Ordering::Relaxed);
        let (window, clients) = window?;
        for client in clients {
            client.join().ok().context("a client panicked")??;
        }
        window
    })?;
    let failed = failed.load(Ordering::Relaxed);
    if failed * 1000 > window.count * FAILURES_PER_MILLE {
        let good = window.count;
        bail!("{failed} connections failed beside {good} good ones");
    }
    Ok(Conn {
        cpu_us: window.cpu_each_us(),
        rate: window.rate(),
    })
}

/// One connection from the client's side.
pub(super) fn visit(way: Way, address: SocketAddrV4) -> io::Result<()> {
    let mut stream = way.connect(address)?;
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}

/// Serves connections one after the other until told to stop. Each is read to its end, so that the
/// proxy has seen the client go, and then reset, so that the proxy's side holds no TIME_WAIT.
pub(super) fn serve(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            continue;
        };
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {
            while matches!(stream.read(&mut byte), Ok(1..)) {}
        }
    }
}
