//! What clients do through the device. They are the kernel's TCP; bytes count where they arrive.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::sink::{PORT_GIVE, PORT_TAKE};
use super::stage::{Stage, connect, patient_visit};
use crate::load::bulk::{Bulk, Direction, drain, fill};
use crate::load::conn::{self, Conn};
use crate::load::{PATIENCE, Window, spawn};

/// Until windows and buffers have grown.
const WARM_UP: Duration = Duration::from_secs(1);

/// Ends the streams when dropped, so that threads blocked on them return.
struct HangUp<'a>(&'a [TcpStream]);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        for stream in self.0 {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Fills so many streams in one direction for `length`.
pub(super) fn bulk(
    stage: &Stage,
    direction: Direction,
    streams: usize,
    length: Duration,
) -> Result<Bulk> {
    let port = match direction {
        Direction::Up => PORT_TAKE,
        Direction::Down => PORT_GIVE,
    };
    let streams: Vec<TcpStream> = stage.near.inside(|| {
        (0..streams)
            .map(|_| connect(port, PATIENCE).context("connect through the device"))
            .collect()
    })?;
    let received = AtomicU64::new(0);
    let window = thread::scope(|scope| {
        let _hang_up = HangUp(&streams);
        for stream in &streams {
            match direction {
                Direction::Up => spawn(scope, || fill(stream))?,
                Direction::Down => spawn(scope, || drain(stream, &received))?,
            };
        }
        let read = || match direction {
            Direction::Up => stage.sink.received(),
            Direction::Down => received.load(Ordering::Relaxed),
        };
        Window::watch(stage.pid(), WARM_UP, length, read)
    })?;
    Ok(Bulk::of(&window))
}

/// Opens and closes connections for `length`.
pub(super) fn connections(stage: &Stage, length: Duration) -> Result<Conn> {
    conn::visits(stage.pid(), length, || stage.near.enter(), patient_visit)
}
