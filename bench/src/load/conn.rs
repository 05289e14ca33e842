//! New connections: connect, SOCKS5 handshake, one byte each way, close with RST.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

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
    let (done, failed, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let window = thread::scope(|scope| {
        let stopping = Stop {
            flag: &stop,
            listener: &listener,
        };
        for _ in 0..SINKS {
            spawn(scope, || serve(&listener, &stop))?;
        }
        for _ in 0..CLIENTS {
            spawn(scope, || {
                while !stop.load(Ordering::Relaxed) {
                    let counter = if visit(target.way, address).is_ok() {
                        &done
                    } else {
                        &failed
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })?;
        }
        let read = || done.load(Ordering::Relaxed);
        let window = Window::watch(target.pid, WARM_UP, length, read);
        let failed = failed.load(Ordering::Relaxed);
        drop(stopping);
        let window = window?;
        if failed * 1000 > window.count * FAILURES_PER_MILLE {
            bail!(
                "{failed} connections failed beside {} good ones",
                window.count
            );
        }
        Ok(window)
    })?;
    Ok(Conn {
        cpu_us: window.cpu_each_us(),
        rate: window.rate(),
    })
}

/// One connection from the client's side.
pub(super) fn visit(way: Way, address: SocketAddrV4) -> std::io::Result<()> {
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
