//! Small requests and replies, one in flight per stream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{HangUp, Target, Window, pairs, spawn};
use crate::stats::percentile;

/// Streams at the same time.
const STREAMS: usize = 64;
/// Bytes of a request and of its reply.
pub(super) const MESSAGE_BYTES: usize = 64;
const WARM_UP: Duration = Duration::from_millis(300);

/// What a window of round trips gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trip {
    /// Processor time of the proxy for one round trip, in microseconds.
    pub(crate) cpu_us: f64,
    /// Median latency, in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency, in microseconds.
    pub(crate) p99_us: f64,
    /// Round trips a second over all streams.
    pub(crate) rate: f64,
}

/// Exchanges messages on all streams for `length`.
pub(crate) fn run(target: Target, length: Duration) -> Result<Trip> {
    let streams = pairs(target.way, STREAMS)?;
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (window, mut latencies) = thread::scope(|scope| {
        let hang_up = HangUp(&streams);
        let mut clients = Vec::with_capacity(streams.len());
        for pair in &streams {
            spawn(scope, || echo(&pair.sink))?;
            clients.push(spawn(scope, || ask(&pair.client, &done, &stop))?);
        }
        let read = || done.load(Ordering::Relaxed);
        let window = Window::watch(target.pid, WARM_UP, length, read);
        // The streams stay up until the last reply, so a broken one is a fault of the proxy.
        stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        let mut fault = None;
        for client in clients {
            match client.join() {
                Ok(Ok(mut own)) => latencies.append(&mut own),
                Ok(Err(error)) => fault = Some(error),
                Err(_) => bail!("a client thread panicked"),
            }
        }
        drop(hang_up);
        fault.map_or(Ok(()), Err)?;
        Ok((window?, latencies))
    })?;
    let mut quantile = |percent| {
        percentile(&mut latencies, percent)
            .map(|ns| f64::from(ns) / 1e3)
            .context("no latency")
    };
    Ok(Trip {
        cpu_us: window.cpu_each_us(),
        p50_us: quantile(50)?,
        p99_us: quantile(99)?,
        rate: window.rate(),
    })
}

/// Answers each message with itself until the stream ends.
pub(super) fn echo(mut stream: &TcpStream) {
    let mut message = [0; MESSAGE_BYTES];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

/// Asks until told to stop; the latencies in nanoseconds.
fn ask(mut stream: &TcpStream, done: &AtomicU64, stop: &AtomicBool) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    let mut message = [7; MESSAGE_BYTES];
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        stream.write_all(&message).context("send a message")?;
        stream
            .read_exact(&mut message)
            .context("receive its reply")?;
        latencies.push(u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX));
        done.fetch_add(1, Ordering::Relaxed);
    }
    if message != [7; MESSAGE_BYTES] {
        bail!("a reply differs from its message");
    }
    Ok(latencies)
}
