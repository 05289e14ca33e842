//! Both ends in one thread, with memory for a wire: what the machines cost by themselves. Time is
//! virtual, so that no timer of theirs is waited for.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::Draws;
use sansbox_protocols::paniq::transport::{Opener, Sealer};

use super::end::{End, Load};
use super::plain::{Plain, sources};
use super::tunnel::{ClientEnd, ServerEnd, codec};
use crate::process::thread_cpu_time as cpu_time;

/// Bytes that are received to at a time, as by one system call.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Datagrams in one go.
const SEGMENTS_MAX: usize = 10;
/// How far time goes when nothing is left to be done.
const STEP: Duration = Duration::from_micros(20);
/// Rounds of nothing new after which a load is stuck.
const STUCK_AFTER: u32 = 100_000;

fn client_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1000))
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 443))
}

struct Pair<C, S> {
    now: Instant,
    client: C,
    server: S,
    flying: Vec<BytesMut>,
    buffer: BytesMut,
}

impl<C: End, S: End> Pair<C, S> {
    fn new(client: C, server: S) -> Self {
        Self {
            now: Instant::ZERO,
            client,
            server,
            flying: Vec::new(),
            buffer: BytesMut::new(),
        }
    }

    /// Carries all that `from` has to send; how many datagrams.
    fn carry(
        now: Instant,
        from: &mut impl End,
        place: SocketAddr,
        to: &mut impl End,
        flying: &mut Vec<BytesMut>,
        buffer: &mut BytesMut,
    ) -> usize {
        while from.transmit(now, SEGMENTS_MAX, &mut |_, segment, datagrams| {
            for datagram in datagrams.chunks(segment) {
                if buffer.capacity() < datagram.len() {
                    buffer.reserve(RECEIVE_BYTES);
                }
                buffer.extend_from_slice(datagram);
                flying.push(buffer.split());
            }
        }) {}
        let carried = flying.len();
        for datagram in flying.drain(..) {
            to.handle_datagram(now, place, datagram);
        }
        to.turn(now);
        carried
    }

    fn step(&mut self) {
        let (now, flying, buffer) = (self.now, &mut self.flying, &mut self.buffer);
        self.client.turn(now);
        let (client, server) = (&mut self.client, &mut self.server);
        let up = Self::carry(now, client, client_address(), server, flying, buffer);
        let down = Self::carry(now, server, server_address(), client, flying, buffer);
        if up + down > 0 {
            self.now += STEP;
        } else {
            let timers = [client.poll_timeout(now), server.poll_timeout(now)];
            let next = timers.into_iter().flatten().min();
            self.now = next.unwrap_or(now).max(now + STEP);
        }
        let now = self.now;
        if self.client.poll_timeout(now).is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        if self.server.poll_timeout(now).is_some_and(|at| at <= now) {
            self.server.handle_timeout(now);
        }
    }

    /// Processor time for each of `count` things, after a quarter as many to warm up.
    fn run(mut self, load: Load, count: u64) -> Result<f64> {
        self.client.start(self.now, load);
        self.until(count / 4)?;
        let (before, begin) = (self.client.count(), cpu_time()?);
        self.until(before + count)?;
        let took = cpu_time()?.saturating_sub(begin);
        let done = self.client.count() - before;
        Ok(took.as_secs_f64() / done as f64)
    }

    fn until(&mut self, count: u64) -> Result<()> {
        let (mut last, mut idle) = (self.client.count(), 0);
        while self.client.count() < count {
            self.step();
            if self.client.count() == last {
                idle += 1;
                ensure!(idle < STUCK_AFTER, "nothing gets through");
            } else {
                (last, idle) = (self.client.count(), 0);
            }
        }
        Ok(())
    }
}

/// Seconds of processor time of both ends for each byte, round trip or stream through a tunnel.
pub(crate) fn tunnel(load: Load, count: u64) -> Result<f64> {
    let now = Instant::ZERO;
    let client = ClientEnd::new(now, server_address(), 1)?;
    Pair::new(client, ServerEnd::new(now, 2)?).run(load, count)
}

/// The same of plain QUIC.
pub(crate) fn plain(load: Load, count: u64) -> Result<f64> {
    let sources = sources(3);
    let _turn = sources.enter(Instant::ZERO);
    let client = Plain::client(&sources, server_address())?;
    Pair::new(client, Plain::server(&sources)?).run(load, count)
}

/// Seconds of processor time to seal a datagram of `inner` bytes, and to open it.
pub(crate) fn envelope(inner: usize, count: u64) -> Result<f64> {
    /// More than the envelope of the datagram has.
    const PACKET_BYTES: i64 = 1500;
    let codec = codec(PACKET_BYTES)?;
    let (mut sealer, mut opener) = (Sealer::default(), Opener::default());
    let mut draws = Draws::new(Seed::from_u64(1));
    let datagram = vec![7; inner];
    let mut out = BytesMut::new();
    let begin = cpu_time()?;
    for _ in 0..count {
        out.clear();
        codec.seal(&mut draws, &mut sealer, black_box(&datagram), &mut out)?;
        black_box(codec.open(&mut opener, black_box(&out))?);
    }
    Ok(cpu_time()?.saturating_sub(begin).as_secs_f64() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_runs_over_both() {
        for load in Load::ALL {
            let count = match load {
                Load::Up | Load::Down => 1_000_000,
                Load::Trip | Load::Conn => 200,
            };
            assert!(tunnel(load, count).unwrap() > 0.0, "{load:?}");
            assert!(plain(load, count).unwrap() > 0.0, "{load:?}");
        }
        assert!(envelope(1400, 10).unwrap() > 0.0);
    }
}
