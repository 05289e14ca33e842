//! What waits in front of a slow line, and how fast the line is.
use super::{
    codel::Codel,
    hop::{HopCx, Lost},
    packet::{Ecn, Packet},
    trace_link::Trace,
};
use core::time::Duration;
use sansbox_core::Instant;
use std::collections::VecDeque;

/// How full a queue may get, and who is dropped before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Packets, at most.
    pub packets: usize,
    /// Octets, at most.
    pub octets: usize,
    /// Drops or marks by how long packets waited; `None`: drops the last alone.
    pub codel: Option<Codel>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            packets: 1000,
            octets: usize::MAX,
            codel: None,
        }
    }
}

/// How fast a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Octets per second on average, and how many may go at once (a token bucket).
    Rate {
        /// Octets per second.
        rate: u64,
        /// Octets that gather while nothing is sent.
        burst: u64,
    },
    /// When packets may go, as recorded somewhere.
    Trace(Trace),
}

const NANOS: u128 = 1_000_000_000;

/// A token bucket; tokens are counted in nanoseconds of the line, so nothing is rounded twice.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    burst: Duration,
    /// The bucket was, or will be, empty at this time.
    empty_at: Instant,
}

impl Bucket {
    fn time(rate: u64, octets: u64) -> Duration {
        let nanos = u128::from(octets) * NANOS / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When the last of `len` octets that came at `since` is on the line. What gathered is used
    /// up first; it gathers from the start of the world on.
    fn ready_at(&self, since: Instant, len: usize) -> Instant {
        let burst = u64::try_from(self.burst.as_nanos()).unwrap_or(u64::MAX);
        let gathered = Instant::from_nanos(since.as_nanos().saturating_sub(burst));
        self.empty_at.max(gathered) + Self::time(self.rate, len as u64)
    }
}

#[derive(Debug)]
enum Server {
    Bucket(Bucket),
    Trace(super::trace_link::Player),
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    since: Instant,
}

/// A queue and the line behind it.
#[derive(Debug)]
pub(super) struct Served {
    queue: Queue,
    server: Server,
    waiting: VecDeque<Waiting>,
    octets: usize,
    codel: super::codel::State,
}

impl Served {
    pub(super) fn new(now: Instant, queue: Queue, line: &Line) -> Self {
        let server = match line {
            Line::Rate { rate, burst } => Server::Bucket(Bucket {
                rate: *rate,
                burst: Bucket::time(*rate, *burst),
                empty_at: now,
            }),
            Line::Trace(trace) => Server::Trace(super::trace_link::Player::new(trace.clone())),
        };
        Self {
            queue,
            server,
            waiting: VecDeque::new(),
            octets: 0,
            codel: super::codel::State::default(),
        }
    }

    /// The line becomes faster or slower; a recorded one is replaced.
    pub(super) fn set_rate(&mut self, now: Instant, rate: u64) {
        self.server = Server::Bucket(Bucket {
            rate,
            burst: Duration::ZERO,
            empty_at: now,
        });
    }

    /// A packet joins the queue.
    pub(super) fn join(&mut self, cx: &mut HopCx<'_>, packet: Packet) {
        let is_full = self.waiting.len() >= self.queue.packets
            || self.octets + packet.len() > self.queue.octets;
        if is_full {
            cx.lose(packet, Lost::Queue);
            return;
        }
        self.octets += packet.len();
        let since = cx.now();
        self.waiting.push_back(Waiting { packet, since });
    }

    /// When the first in the queue may go.
    pub(super) fn ready_at(&self) -> Option<Instant> {
        let first = self.waiting.front()?;
        let len = first.packet.len();
        let at = match &self.server {
            Server::Bucket(bucket) => bucket.ready_at(first.since, len),
            Server::Trace(player) => player.ready_at(first.since, len),
        };
        Some(at.max(first.since))
    }

    /// Takes a packet that may go now.
    pub(super) fn serve(&mut self, cx: &mut HopCx<'_>) -> Option<Packet> {
        loop {
            if self.ready_at()? > cx.now() {
                return None;
            }
            let Waiting { mut packet, since } = self.waiting.pop_front()?;
            self.octets -= packet.len();
            if let Some(codel) = self.queue.codel {
                let waited = cx.now().saturating_duration_since(since);
                let is_bad = self.codel.is_dropped(codel, cx.now(), waited, self.octets);
                if is_bad && codel.marks && packet.ecn != Ecn::NotEct {
                    packet.ecn = Ecn::Ce;
                } else if is_bad {
                    cx.lose(packet, Lost::Queue);
                    continue;
                }
            }
            let len = packet.len();
            match &mut self.server {
                Server::Bucket(bucket) => bucket.empty_at = bucket.ready_at(since, len),
                Server::Trace(player) => player.take(since, len),
            }
            return Some(packet);
        }
    }
}
