//! One end of a connection over packets.
use super::LINGER;
use crate::{
    host::{Read, WasReset},
    net::packet::{Flags, IPV4_HEADER_LEN, IPV6_HEADER_LEN, Segment, TCP_HEADER_LEN},
    rng::StreamId,
    tcp::{
        Path, Segments,
        stack::{ConnId, StackCx, StackEvent},
        table::{Entry, Owner, Pair},
    },
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

/// Longest random delay between readiness and the host's wake-up.
const WAKE_JITTER: Duration = Duration::from_micros(200);
/// Longest payload of a segment until a router says otherwise: what fits an Ethernet frame.
const SEGMENT_LEN_MAX: usize = 1460;
/// A router cannot make segments shorter than this.
const SEGMENT_LEN_MIN: usize = 88;
/// Packets on the way at the start of a connection (RFC 6928).
const FLIGHT_FIRST: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    SynSent,
    SynReceived,
    Open,
    /// Reset, or given up.
    Dead,
}

/// What is sent. Offsets count payload bytes, and one for the FIN behind them.
#[derive(Debug)]
pub(super) struct Sending {
    /// Bytes that are not acknowledged yet.
    pub(super) buf: BytesMut,
    /// Offset of the first of them.
    pub(super) base: u64,
    /// Everything below is acknowledged.
    pub(super) acked: u64,
    /// What is sent next; behind a timeout it goes back.
    pub(super) next: u64,
    /// Everything below was sent at least once.
    pub(super) highest: u64,
    pub(super) fin_queued: bool,
    /// What the receiver has room for.
    pub(super) edge: u64,
    /// Packets that may be on the way.
    pub(super) flight_max: u64,
    pub(super) line_free_at: Instant,
    pub(super) wants_write: bool,
}

impl Sending {
    /// Behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.base + self.buf.len() as u64
    }

    pub(super) fn is_fin_acked(&self) -> bool {
        self.fin_queued && self.acked > self.end()
    }
}

/// What is received.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    pub(super) buf: BytesMut,
    /// Everything below has come.
    pub(super) next: u64,
    /// What came too early.
    pub(super) early: BTreeMap<u64, BytesMut>,
    pub(super) fin_at: Option<u64>,
    /// The window that the sender was told of last ends here.
    pub(super) told_edge: u64,
}

impl Receiving {
    pub(super) fn has_fin(&self) -> bool {
        self.fin_at == Some(self.next)
    }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) phase: Phase,
    pub(super) owner: Owner,
    pub(super) path: Path,
    pub(super) stream: StreamId,
    /// Longest segment, as the path wants it cut.
    pub(super) segment_max: usize,
    /// Longest segment that fits the way.
    pub(super) segment_limit: usize,
    pub(super) send: Sending,
    pub(super) recv: Receiving,
    pub(super) clock: super::timers::Timers,
    /// Nothing but late packets is expected after this.
    pub(super) forget_at: Option<Instant>,
}

impl Conn {
    pub(super) fn new(
        cx: &mut StackCx<'_>,
        id: ConnId,
        (local, remote): (SocketAddr, SocketAddr),
        stream: StreamId,
        phase: Phase,
    ) -> Self {
        let path = cx.path(local, remote);
        let segment_max = match path.segments {
            Segments::UpTo(n) => n.clamp(1, SEGMENT_LEN_MAX),
            Segments::Any => match cx.streams().below(stream, 4) {
                0 => 40,
                1 => 300,
                2 => 1000,
                _ => SEGMENT_LEN_MAX,
            },
        };
        Self {
            id,
            local,
            remote,
            phase,
            owner: Owner::Host,
            path,
            stream,
            segment_max,
            segment_limit: SEGMENT_LEN_MAX,
            send: Sending {
                buf: BytesMut::new(),
                base: 0,
                acked: 0,
                next: 0,
                highest: 0,
                fin_queued: false,
                edge: 0,
                flight_max: FLIGHT_FIRST,
                line_free_at: cx.now(),
                wants_write: false,
            },
            recv: Receiving::default(),
            clock: super::timers::Timers::new(cx.now()),
            forget_at: None,
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.recv.buf.is_empty()
    }

    fn wake_at(&self, cx: &mut StackCx<'_>) -> Instant {
        let stream = self.stream;
        if cx.streams().one_in(stream, 4) {
            let jitter = WAKE_JITTER.as_nanos() as u64;
            cx.now() + Duration::from_nanos(cx.streams().below(stream, jitter))
        } else {
            cx.now()
        }
    }

    pub(super) fn tell_readable(&self, cx: &mut StackCx<'_>) {
        if self.owner == Owner::Host {
            let at = self.wake_at(cx);
            cx.tell(at, StackEvent::Readable(self.id));
        }
    }

    pub(super) fn tell_writable(&mut self, cx: &mut StackCx<'_>) {
        if self.owner == Owner::Host && self.send.wants_write {
            self.send.wants_write = false;
            let at = self.wake_at(cx);
            cx.tell(at, StackEvent::Writable(self.id));
        }
    }

    pub(super) fn read(&mut self, cx: &mut StackCx<'_>, max: usize) -> Read {
        if self.recv.buf.is_empty() {
            return match (self.phase, self.recv.has_fin()) {
                (Phase::Dead, _) => Read::Reset,
                (Phase::SynSent | Phase::SynReceived | Phase::Open, true) => Read::Fin,
                (Phase::SynSent | Phase::SynReceived | Phase::Open, false) => Read::WouldBlock,
            };
        }
        let n = self.recv.buf.len().min(max);
        let bytes = self.recv.buf.split_to(n);
        self.open_window(cx);
        if n == 0 {
            return Read::WouldBlock;
        }
        Read::Bytes(bytes)
    }

    pub(super) fn write(&mut self, cx: &mut StackCx<'_>, bytes: &[u8]) -> Result<usize, WasReset> {
        if self.phase == Phase::Dead || self.owner != Owner::Host || self.send.fin_queued {
            return Err(WasReset);
        }
        let limit = self.path.send_buffer;
        let mut taken = bytes.len().min(limit.saturating_sub(self.send.buf.len()));
        if taken > 1 && cx.streams().one_in(self.stream, 8) {
            taken = cx.streams().len_up_to(self.stream, taken);
        }
        let taken_bytes = bytes.get(..taken).unwrap_or_default();
        self.send.buf.extend_from_slice(taken_bytes);
        self.send.wants_write = taken < bytes.len();
        self.pump(cx);
        // A short write by chance leaves room: the host is woken at once.
        if self.send.buf.len() < limit {
            self.tell_writable(cx);
        }
        Ok(taken)
    }

    pub(super) fn shutdown(&mut self, cx: &mut StackCx<'_>) {
        self.send.fin_queued = true;
        self.pump(cx);
    }

    /// The host resets the connection, or gives a dial up.
    pub(super) fn abort(&mut self, cx: &mut StackCx<'_>) {
        self.owner = Owner::Closed;
        if self.phase != Phase::Dead {
            self.send_reset(cx);
        }
        self.phase = Phase::Dead;
    }

    pub(super) fn send_reset(&self, cx: &mut StackCx<'_>) {
        let segment = Segment {
            flags: Flags::RST,
            offset: self.send.next,
            ..Segment::default()
        };
        cx.send(cx.now(), self.local, self.remote, segment);
    }

    /// A reset arrives, or the kernel gives the connection up.
    pub(super) fn die(&mut self, cx: &mut StackCx<'_>, why: Refusal) {
        let was = self.phase;
        self.phase = Phase::Dead;
        self.send.buf.clear();
        match was {
            Phase::SynSent => {
                self.owner = Owner::Closed;
                cx.tell(cx.now(), StackEvent::Failed(self.id, why));
                return;
            }
            // Nobody has heard of it.
            Phase::SynReceived => self.owner = Owner::Closed,
            Phase::Open | Phase::Dead => {}
        }
        // Linux keeps what was received, other systems drop it.
        if cx.streams().one_in(self.stream, 4) {
            self.recv.buf.clear();
        }
        self.tell_readable(cx);
        self.send.wants_write = true;
        self.tell_writable(cx);
    }

    /// A closed end that has nothing left to do is remembered for a while.
    pub(super) fn settle(&mut self, cx: &StackCx<'_>) {
        if self.owner == Owner::Closed && self.send.is_fin_acked() && self.forget_at.is_none() {
            self.forget_at = Some(cx.now() + LINGER);
        }
    }
}

impl Entry for Conn {
    fn pair(&self) -> Pair {
        (self.local, self.remote)
    }

    fn is_gone(&self, _now: Instant) -> bool {
        self.phase == Phase::Dead && self.owner == Owner::Closed
    }

    fn is_asking(&self) -> bool {
        self.phase == Phase::SynSent
    }

    fn shrink(&mut self, cx: &mut StackCx<'_>, mtu: usize) {
        let ip = if self.remote.is_ipv4() {
            IPV4_HEADER_LEN
        } else {
            IPV6_HEADER_LEN
        };
        let fits = mtu.saturating_sub(ip + TCP_HEADER_LEN).max(SEGMENT_LEN_MIN);
        if fits < self.segment_limit {
            self.segment_limit = fits;
            self.segment_max = self.segment_max.min(fits);
            self.send.next = self.send.acked;
            self.pump(cx);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline()
    }
}
