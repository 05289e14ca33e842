//! One-way bulk transfer over several streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{HangUp, Target, Window, pairs, spawn};

/// Streams at the same time.
const STREAMS: usize = 8;
/// One read or write of the generator.
const CHUNK_BYTES: usize = 256 * 1024;
/// Until windows and buffers have grown.
const WARM_UP: Duration = Duration::from_millis(500);
const GBIT_PER_BYTE: f64 = 8e-9;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the far end.
    Up,
    /// From the far end to the client.
    Down,
}

/// What a window of bulk transfer gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk {
    /// Gbit carried for each second of processor time of the proxy.
    pub(crate) gbit_per_core_second: f64,
    /// Gbit carried each second.
    pub(crate) gbit_per_second: f64,
}

impl Bulk {
    /// Of a window that counted bytes.
    pub(crate) fn of(window: &Window) -> Self {
        Self {
            gbit_per_core_second: window.count() * GBIT_PER_BYTE / window.cpu.as_secs_f64(),
            gbit_per_second: window.rate() * GBIT_PER_BYTE,
        }
    }
}

/// Fills all streams in one direction for `length`; bytes count where they arrive.
pub(crate) fn run(target: Target, direction: Direction, length: Duration) -> Result<Bulk> {
    let streams = pairs(target.way, STREAMS)?;
    let received = AtomicU64::new(0);
    let window = thread::scope(|scope| {
        let hang_up = HangUp(&streams);
        for pair in &streams {
            let (from, to) = match direction {
                Direction::Up => (&pair.client, &pair.sink),
                Direction::Down => (&pair.sink, &pair.client),
            };
            spawn(scope, || drain(to, &received))?;
            spawn(scope, || fill(from))?;
        }
        let read = || received.load(Ordering::Relaxed);
        let window = Window::watch(target.pid, WARM_UP, length, read);
        drop(hang_up);
        window
    })?;
    Ok(Bulk::of(&window))
}

/// Writes until the stream ends.
pub(crate) fn fill(mut stream: &TcpStream) {
    let chunk = vec![0x5a; CHUNK_BYTES];
    while stream.write_all(&chunk).is_ok() {}
}

/// Reads until the stream ends.
pub(crate) fn drain(mut stream: &TcpStream, received: &AtomicU64) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        received.fetch_add(read as u64, Ordering::Relaxed);
    }
}
