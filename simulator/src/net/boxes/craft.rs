//! Packets that middleboxes send themselves.
use crate::net::{
    hop::HopCx,
    packet::{Body, Ecn, Flags, Icmp, IcmpKind, Packet, Segment},
};
use core::net::{IpAddr, SocketAddr};

fn packet(
    cx: &mut HopCx<'_>,
    source: SocketAddr,
    destination: SocketAddr,
    segment: Segment,
) -> Packet {
    Packet {
        id: cx.new_packet_id(),
        source,
        destination,
        ecn: Ecn::NotEct,
        may_fragment: false,
        body: Body::Tcp(segment),
    }
}

/// A reset that says it is from `source`; `offset` is where its receiver expects the next byte.
pub(super) fn reset(
    cx: &mut HopCx<'_>,
    source: SocketAddr,
    destination: SocketAddr,
    offset: u64,
) -> Packet {
    let segment = Segment {
        flags: Flags::RST,
        offset,
        ..Segment::default()
    };
    packet(cx, source, destination, segment)
}

/// The reset that answers a segment; `None` for what must not be answered so: datagrams, ICMP
/// and resets (RFC 9293 section 3.5.2).
pub(super) fn reset_for(cx: &mut HopCx<'_>, about: &Packet) -> Option<Packet> {
    match &about.body {
        Body::Tcp(segment) => {
            let answer = segment.reset()?;
            Some(packet(cx, about.destination, about.source, answer))
        }
        Body::Udp(_) | Body::Icmp(_) | Body::Raw(_) => None,
    }
}

/// The ICMP message that says a packet got nowhere, from `router`; `None` for ICMP messages,
/// about which there are none (RFC 1122 section 3.2.2).
pub(super) fn unreachable(cx: &mut HopCx<'_>, router: IpAddr, about: &Packet) -> Option<Packet> {
    message(cx, router, about, IcmpKind::Unreachable)
}

/// The same, because it may not pass.
pub(super) fn prohibited(cx: &mut HopCx<'_>, router: IpAddr, about: &Packet) -> Option<Packet> {
    message(cx, router, about, IcmpKind::Prohibited)
}

fn message(cx: &mut HopCx<'_>, router: IpAddr, about: &Packet, kind: IcmpKind) -> Option<Packet> {
    if matches!(about.body, Body::Icmp(_)) {
        return None;
    }
    Some(Packet {
        id: cx.new_packet_id(),
        source: SocketAddr::new(router, 0),
        destination: about.source,
        ecn: Ecn::NotEct,
        may_fragment: true,
        body: Body::Icmp(Icmp {
            kind,
            transport: about.transport(),
            about_source: about.source,
            about_destination: about.destination,
        }),
    })
}
