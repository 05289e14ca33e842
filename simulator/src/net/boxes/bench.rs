//! Pushes packets through one hop, without a world around it.
use crate::{
    net::{
        hop::{Hop, HopCx, HopFault, HopOutput, Lost, Way},
        packet::{Body, Ecn, Flags, Packet, PacketId, Segment},
    },
    rng::{StreamId, Streams},
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Instant;

/// What became of packets.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) forwarded: Vec<(Way, Packet)>,
    pub(super) at: Vec<Instant>,
    pub(super) lost: Vec<Lost>,
    pub(super) lost_ids: Vec<PacketId>,
    pub(super) notes: Vec<String>,
}

impl Seen {
    /// The one packet that went on.
    pub(super) fn only(&self) -> (Way, &Packet) {
        assert_eq!(self.forwarded.len(), 1, "{self:?}");
        (self.forwarded[0].0, &self.forwarded[0].1)
    }

    /// Did the one packet go no further, for this reason, and nothing else happen?
    pub(super) fn is_lost(&self, why: Lost) -> bool {
        self.forwarded.is_empty() && self.lost == [why]
    }

    /// Source and destination of each packet that went on.
    pub(super) fn ends(&self) -> Vec<(Way, String, String)> {
        let ends =
            |(way, p): &(Way, Packet)| (*way, p.source.to_string(), p.destination.to_string());
        self.forwarded.iter().map(ends).collect()
    }

    /// Which way resets went.
    pub(super) fn resets(&self) -> Vec<Way> {
        let is_reset = |p: &Packet| matches!(&p.body, Body::Tcp(s) if s.flags.rst);
        let resets = self.forwarded.iter().filter(|(_, p)| is_reset(p));
        resets.map(|(way, _)| *way).collect()
    }
}

/// A hop on a bench.
pub(super) struct Bench<H> {
    pub(super) hop: H,
    pub(super) now: Instant,
    streams: Streams,
    stream: StreamId,
    next_packet: u64,
}

/// The first name of packets that a hop makes.
pub(super) const FIRST_OWN: u64 = 1_000;

impl<H: Hop> Bench<H> {
    pub(super) fn new(hop: H) -> Self {
        let mut streams = Streams::new(7);
        let stream = streams.open("hop");
        Self {
            hop,
            now: Instant::ZERO,
            streams,
            stream,
            next_packet: FIRST_OWN,
        }
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut H, &mut HopCx<'_>) -> T) -> (T, Seen) {
        let mut outputs = Vec::new();
        let next = &mut self.next_packet;
        let mut cx = HopCx::new(self.now, &mut self.streams, self.stream, next, &mut outputs);
        let result = run(&mut self.hop, &mut cx);
        let mut seen = Seen::default();
        for output in outputs {
            match output {
                HopOutput::Forward { at, way, packet } => {
                    assert!(at >= self.now);
                    seen.at.push(at);
                    seen.forwarded.push((way, packet));
                }
                HopOutput::Lost { why, packet } => {
                    seen.lost.push(why);
                    seen.lost_ids.push(packet.id);
                }
                HopOutput::Note { text, .. } => seen.notes.push(text),
            }
        }
        (result, seen)
    }

    pub(super) fn pass(&mut self, way: Way, packet: Packet) -> Seen {
        self.with(|hop, cx| hop.pass(cx, way, packet)).1
    }

    pub(super) fn out(&mut self, packet: Packet) -> Seen {
        self.pass(Way::Out, packet)
    }

    pub(super) fn inward(&mut self, packet: Packet) -> Seen {
        self.pass(Way::In, packet)
    }

    pub(super) fn fault(&mut self, fault: HopFault) -> bool {
        self.with(|hop, cx| hop.fault(cx, fault)).0
    }

    /// Lets time pass, and the hop's deadlines come.
    pub(super) fn wait(&mut self, time: Duration) -> Seen {
        let until = self.now + time;
        let mut all = Seen::default();
        while let Some(at) = self.hop.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            let seen = self.with(|hop, cx| hop.handle_timeout(cx)).1;
            all.forwarded.extend(seen.forwarded);
            all.at.extend(seen.at);
            all.lost.extend(seen.lost);
            let next = self.hop.poll_timeout();
            assert!(next.is_none_or(|next| next > at), "a deadline stands still");
        }
        self.now = until;
        all
    }
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn packet(source: &str, destination: &str, body: Body) -> Packet {
    Packet {
        id: PacketId(1),
        source: addr(source),
        destination: addr(destination),
        ecn: Ecn::NotEct,
        may_fragment: false,
        body,
    }
}

pub(super) fn udp(source: &str, destination: &str) -> Packet {
    udp_data(source, destination, b"payload")
}

pub(super) fn udp_data(source: &str, destination: &str, data: &[u8]) -> Packet {
    packet(source, destination, Body::Udp(BytesMut::from(data)))
}

pub(super) const SYN: Flags = Flags::SYN;
pub(super) const SYN_ACK: Flags = Flags::SYN_ACK;
pub(super) const ACK: Flags = Flags::ACK;
pub(super) const RST: Flags = Flags::RST;
pub(super) const FIN: Flags = Flags { fin: true, ..ACK };

pub(super) fn tcp(source: &str, destination: &str, flags: Flags) -> Packet {
    tcp_data(source, destination, flags, 0, b"")
}

pub(super) fn tcp_data(
    source: &str,
    destination: &str,
    flags: Flags,
    offset: u64,
    data: &[u8],
) -> Packet {
    let segment = Segment {
        flags,
        offset,
        data: BytesMut::from(data),
        ..Segment::default()
    };
    packet(source, destination, Body::Tcp(segment))
}
