//! Packets as bytes: what clients' kernels make of datagrams and errors, and what they read.
use crate::net::packet::{Icmp, IcmpKind, Transport};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use etherparse::{
    Icmpv4Type, Icmpv6Type, IpHeaders, PacketBuilder, PacketBuilderStep,
    icmpv4::DestUnreachableHeader as V4, icmpv6::DestUnreachableCode as V6,
};
use sansbox_stack::ip::{self, protocol};
use std::collections::BTreeMap;

/// Time to live of every packet of a client.
const TTL: u8 = 64;
/// How much of the transport header a client's ICMP message quotes (RFC 792).
const QUOTED_LEN: usize = 8;

type Ends = (SocketAddr, SocketAddr);

/// A whole datagram: its ends, and its payload.
pub(super) type Datagram = (Ends, BytesMut);

/// What a packet says.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    Tcp(Ends),
    Udp(Ends, &'a [u8]),
    /// An ICMP message about a packet, and its name with type and code.
    Error(Ends, Icmp, String),
    /// A part of a datagram.
    Fragment(Ends, Part<'a>),
    Other(Ends),
}

/// A part of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) id: u32,
    pub(super) offset: usize,
    pub(super) is_last: bool,
    pub(super) data: &'a [u8],
}

impl Heard<'_> {
    pub(super) const fn ends(&self) -> Ends {
        match self {
            Self::Tcp(ends)
            | Self::Udp(ends, _)
            | Self::Error(ends, ..)
            | Self::Fragment(ends, _)
            | Self::Other(ends) => *ends,
        }
    }
}

fn step(ends: Ends) -> Option<PacketBuilderStep<IpHeaders>> {
    match (ends.0.ip(), ends.1.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Some(PacketBuilder::ipv4(from.octets(), to.octets(), TTL))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Some(PacketBuilder::ipv6(from.octets(), to.octets(), TTL))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

fn whole(ends: Ends, data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let udp = step(ends)?.udp(ends.0.port(), ends.1.port());
    udp.write_to_vec(&mut out, data).ok()?;
    Some(out)
}

/// A datagram, in fragments where it is longer than a packet may be.
pub(super) fn datagram(ends: Ends, data: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let Some(packet) = whole(ends, data) else {
        return Vec::new();
    };
    if packet.len() <= mtu {
        return vec![packet];
    }
    match ends.0.is_ipv4() {
        true => fragments_v4(&packet, mtu, id as u16),
        false => fragments_v6(&packet, mtu, id),
    }
}

/// RFC 791 section 2.3.
fn fragments_v4(packet: &[u8], mtu: usize, id: u16) -> Vec<Vec<u8>> {
    let (head, data) = packet.split_at(ip::IPV4_HEADER_LEN);
    let step = (mtu - head.len()) / 8 * 8;
    let parts = data.chunks(step).enumerate().map(|(n, part)| {
        let is_last = (n + 1) * step >= data.len();
        let place = (n * step / 8) as u16 | if is_last { 0 } else { 0x2000 };
        let mut out = [head, part].concat();
        let len = out.len() as u16;
        set(&mut out, 2, &len.to_be_bytes());
        set(&mut out, 4, &id.to_be_bytes());
        set(&mut out, 6, &place.to_be_bytes());
        set(&mut out, 10, &[0; 2]);
        let sum = !ip::sum(out.get(..head.len()).unwrap_or_default());
        set(&mut out, 10, &sum.to_be_bytes());
        out
    });
    parts.collect()
}

/// RFC 8200 section 4.5.
fn fragments_v6(packet: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let (head, data) = packet.split_at(ip::IPV6_HEADER_LEN);
    let step = (mtu - head.len() - ip::FRAGMENT_HEADER_LEN) / 8 * 8;
    let parts = data.chunks(step).enumerate().map(|(n, part)| {
        let is_last = (n + 1) * step >= data.len();
        let place = (n * step) as u16 | u16::from(!is_last);
        let [a, b] = place.to_be_bytes();
        let [c, d, e, f] = id.to_be_bytes();
        let fragment = [protocol::UDP, 0, a, b, c, d, e, f];
        let mut out = [head, &fragment, part].concat();
        let len = (out.len() - head.len()) as u16;
        set(&mut out, 4, &len.to_be_bytes());
        // RFC 8200: the number of the fragment header.
        set(&mut out, 6, &[44]);
        out
    });
    parts.collect()
}

fn set(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// What a client's kernel, or a router behind the device, says of a packet that came out of it.
pub(super) fn error(ends: Ends, icmp: &Icmp) -> Option<Vec<u8>> {
    let about = (icmp.about_source, icmp.about_destination);
    let quoted = match icmp.transport {
        Transport::Udp => whole(about, &[])?,
        Transport::Tcp => {
            let mut out = Vec::new();
            let tcp = step(about)?.tcp(about.0.port(), about.1.port(), 1, u16::MAX);
            tcp.write_to_vec(&mut out, &[]).ok()?;
            out
        }
    };
    let head_len = if about.0.is_ipv4() {
        ip::IPV4_HEADER_LEN
    } else {
        ip::IPV6_HEADER_LEN
    };
    let quoted = quoted.get(..head_len + QUOTED_LEN)?;
    let mut out = Vec::new();
    let step = step(ends)?;
    let written = if ends.0.is_ipv4() {
        let message = Icmpv4Type::DestinationUnreachable(match icmp.kind {
            IcmpKind::Unreachable => V4::Port,
            IcmpKind::Prohibited => V4::FilterProhibited,
            IcmpKind::PacketTooBig { mtu } => V4::FragmentationNeeded {
                next_hop_mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            },
        });
        step.icmpv4(message).write_to_vec(&mut out, quoted)
    } else {
        let message = match icmp.kind {
            IcmpKind::Unreachable => Icmpv6Type::DestinationUnreachable(V6::Port),
            IcmpKind::Prohibited => Icmpv6Type::DestinationUnreachable(V6::Prohibited),
            IcmpKind::PacketTooBig { mtu } => Icmpv6Type::PacketTooBig {
                mtu: u32::try_from(mtu).unwrap_or(u32::MAX),
            },
        };
        step.icmpv6(message).write_to_vec(&mut out, quoted)
    };
    written.ok().map(|()| out)
}

/// The datagram that parts make up, once all are there.
pub(super) fn join(ends: Ends, parts: &BTreeMap<usize, Vec<u8>>) -> Result<Datagram, String> {
    let whole: Vec<u8> = parts.values().flatten().copied().collect();
    if !ip::is_valid(ends.0.ip(), ends.1.ip(), protocol::UDP, &whole) {
        return Err("a wrong checksum of a datagram in parts".into());
    }
    let (from, to) = ports(&whole).ok_or("no UDP header")?;
    let ends = (
        SocketAddr::new(ends.0.ip(), from),
        SocketAddr::new(ends.1.ip(), to),
    );
    let data = whole.get(ip::UDP_HEADER_LEN..).unwrap_or_default();
    Ok((ends, BytesMut::from(data)))
}

/// Reads a packet, whose checksums must be right.
pub(super) fn hear(packet: &[u8]) -> Result<Heard<'_>, String> {
    let header = ip::Header::parse(packet).map_err(|why| format!("{why:?}"))?;
    let upper = header.payload(packet);
    let (from, to) = (header.source, header.destination);
    let portless = (SocketAddr::new(from, 0), SocketAddr::new(to, 0));
    if let Some(fragment) = header.fragment {
        let data = packet.get(fragment.data_at..header.total_len);
        let part = Part {
            id: fragment.id,
            offset: fragment.offset,
            is_last: !fragment.more,
            data: data.ok_or("a fragment without its data")?,
        };
        return Ok(Heard::Fragment(portless, part));
    }
    let is_right = ip::is_valid(from, to, header.protocol, upper);
    let ports = ports(upper);
    let ends = ports.map(|(a, b)| (SocketAddr::new(from, a), SocketAddr::new(to, b)));
    match (header.protocol, ends) {
        (protocol::TCP, Some(ends)) if is_right => Ok(Heard::Tcp(ends)),
        (protocol::UDP, Some(ends)) if is_right => {
            let data = upper.get(ip::UDP_HEADER_LEN..).ok_or("no UDP header")?;
            Ok(Heard::Udp(ends, data))
        }
        (protocol::ICMP, _) if !ip::sum(upper) == 0 => Ok(message(portless, upper)),
        (protocol::ICMPV6, _) if is_right => Ok(message(portless, upper)),
        _ => Err("an unknown protocol, or a wrong checksum".into()),
    }
}

fn ports(upper: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d, ..] = upper else {
        return None;
    };
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// An ICMP message: an error about TCP or UDP, or something else.
fn message(ends: Ends, upper: &[u8]) -> Heard<'_> {
    error_in(ends, upper).unwrap_or(Heard::Other(ends))
}

fn error_in(ends: Ends, upper: &[u8]) -> Option<Heard<'_>> {
    let [kind, code, _, _, rest @ ..] = upper else {
        return None;
    };
    let (kind, code) = (*kind, *code);
    let (rest, quoted) = rest.split_first_chunk::<4>()?;
    let is_v4 = ends.0.is_ipv4();
    let kind_of = match (is_v4, kind, code) {
        (true, 3, 4) => IcmpKind::PacketTooBig {
            mtu: u16::from_be_bytes([rest[2], rest[3]]).into(),
        },
        (false, 2, _) => IcmpKind::PacketTooBig {
            mtu: u32::from_be_bytes(*rest) as usize,
        },
        (true, 3, 13) | (false, 1, 1) => IcmpKind::Prohibited,
        (true, 3 | 11, _) | (false, 1 | 3, _) => IcmpKind::Unreachable,
        _ => return None,
    };
    let (about, number) = quote(quoted)?;
    let transport = match number {
        protocol::TCP => Transport::Tcp,
        protocol::UDP => Transport::Udp,
        _ => return None,
    };
    let icmp = Icmp {
        kind: kind_of,
        transport,
        about_source: about.0,
        about_destination: about.1,
    };
    let version = if is_v4 { 4 } else { 6 };
    Some(Heard::Error(
        ends,
        icmp,
        format!("ICMPv{version} {kind}/{code}"),
    ))
}

/// The ends and the protocol of a quoted packet, which may be cut.
fn quote(packet: &[u8]) -> Option<(Ends, u8)> {
    let (from, to, number, upper) = match packet.first()? >> 4 {
        4 => {
            let at = usize::from(packet.first()? & 15) * 4;
            let from: [u8; 4] = *packet.get(12..)?.first_chunk()?;
            let to: [u8; 4] = *packet.get(16..)?.first_chunk()?;
            (from.into(), to.into(), *packet.get(9)?, packet.get(at..)?)
        }
        6 => {
            let from: [u8; 16] = *packet.get(8..)?.first_chunk()?;
            let to: [u8; 16] = *packet.get(24..)?.first_chunk()?;
            let upper = packet.get(ip::IPV6_HEADER_LEN..)?;
            (IpAddr::from(from), IpAddr::from(to), *packet.get(6)?, upper)
        }
        _ => return None,
    };
    let (a, b) = ports(upper)?;
    Some(((SocketAddr::new(from, a), SocketAddr::new(to, b)), number))
}
