//! From a received packet to a TCP segment.
use std::net::Ipv4Addr;

use smoltcp::wire::{
    IpProtocol, Ipv4Packet, Ipv6ExtHeader, Ipv6FragmentHeader, Ipv6Packet, TcpOption, TcpPacket,
};

use super::checksum::{Sum, pseudo_header};
use crate::batch::{DataRef, Other, RxPacket, Verified};
use crate::config::EXTENSION_HEADERS_MAX;
use crate::counters::DropReason;
use crate::key::FlowKey;

/// TCP flags as they stand in the header.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

const TCP: u8 = 6;

/// A TCP segment whose checksum holds and whose payload lies in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    packet: &'a [u8],
    pub(crate) key: FlowKey,
    pub(crate) seq: u32,
    /// Meaningful with [`ACK`].
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// Not scaled.
    pub(crate) window: u16,
    pub(crate) data: DataRef,
    pub(crate) options: Options,
}

/// Options of a segment that mean something here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) mss: Option<u16>,
    /// At most 14 (RFC 7323 section 2.3).
    pub(crate) shift: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) sacks: [Option<(u32, u32)>; 3],
}

impl<'a> Segment<'a> {
    /// The bytes of a part of [`Segment::data`].
    pub(crate) fn bytes(&self, data: DataRef) -> &'a [u8] {
        self.packet
            .get(data.start as usize..data.end as usize)
            .unwrap_or_default()
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers that it takes: payload, SYN and FIN.
    pub(crate) fn sequence_len(&self) -> u32 {
        self.data.len() + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }
}

/// What a packet is.
pub(crate) enum Parsed<'a> {
    Tcp(Segment<'a>),
    Other(Other),
}

/// Where the transport header is, and between whom.
struct Internet {
    protocol: u8,
    start: usize,
    end: usize,
    fragment: bool,
    ends: Ends,
}

enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(std::net::Ipv6Addr, std::net::Ipv6Addr),
}

/// Reads one packet, the `index`-th of its batch.
pub(crate) fn parse<'a>(index: u32, packet: &RxPacket<'a>) -> Result<Parsed<'a>, DropReason> {
    let internet = match packet.data.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(packet)?,
        Some(6) => ipv6(packet.data)?,
        Some(_) => return Err(DropReason::IpVersion),
        None => return Err(DropReason::Truncated),
    };
    if internet.protocol != TCP || internet.fragment {
        return Ok(Parsed::Other(Other {
            packet: index,
            protocol: internet.protocol,
            offset: u16::try_from(internet.start).unwrap_or(u16::MAX),
            fragment: internet.fragment,
        }));
    }
    tcp(index, packet, &internet).map(Parsed::Tcp)
}

fn ipv4(packet: &RxPacket<'_>) -> Result<Internet, DropReason> {
    if packet.data.first().is_some_and(|byte| byte & 0xf < 5) {
        return Err(DropReason::IpHeader);
    }
    let ip = Ipv4Packet::new_checked(packet.data).map_err(|_| DropReason::Truncated)?;
    if packet.verified == Verified::No && !ip.verify_checksum() {
        return Err(DropReason::IpChecksum);
    }
    let (source, destination) = (ip.src_addr(), ip.dst_addr());
    for address in [source, destination] {
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            // Datagrams to such addresses are the business of whoever serves datagrams.
            if ip.next_header() == IpProtocol::Tcp {
                return Err(DropReason::Martian);
            }
        }
    }
    Ok(Internet {
        protocol: ip.next_header().into(),
        start: usize::from(ip.header_len()),
        end: usize::from(ip.total_len()),
        fragment: ip.more_frags() || ip.frag_offset() != 0,
        ends: Ends::V4(source, destination),
    })
}

fn ipv6(data: &[u8]) -> Result<Internet, DropReason> {
    let ip = Ipv6Packet::new_checked(data).map_err(|_| DropReason::Truncated)?;
    let (source, destination) = (ip.src_addr(), ip.dst_addr());
    let end = ip.total_len();
    let (protocol, start, fragment) = extensions(data, ip.next_header(), ip.header_len(), end)?;
    for address in [source, destination] {
        let strange = address.is_unspecified()
            || address.is_multicast()
            || address.to_ipv4_mapped().is_some();
        if strange && protocol == TCP {
            return Err(DropReason::Martian);
        }
    }
    Ok(Internet {
        protocol,
        start,
        end,
        fragment,
        ends: Ends::V6(source, destination),
    })
}

/// Walks the extension headers (RFC 8200 section 4) from `at`: the protocol behind them, where
/// it begins, and whether the packet is a fragment.
fn extensions(
    data: &[u8],
    first: IpProtocol,
    mut at: usize,
    end: usize,
) -> Result<(u8, usize, bool), DropReason> {
    let mut next = first;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let extension = matches!(
            next,
            IpProtocol::HopByHop
                | IpProtocol::Ipv6Route
                | IpProtocol::Ipv6Opts
                | IpProtocol::Ipv6Frag
        );
        if !extension {
            return Ok((next.into(), at, false));
        }
        let rest = data.get(at..end).ok_or(DropReason::ExtensionHeader)?;
        if next == IpProtocol::Ipv6Frag {
            let header = Ipv6ExtHeader::new_unchecked(rest);
            let Some(body) = rest.get(2..8) else {
                return Err(DropReason::ExtensionHeader);
            };
            let fragment =
                Ipv6FragmentHeader::new_checked(body).map_err(|_| DropReason::ExtensionHeader)?;
            let next_header = header.next_header();
            if fragment.more_frags() || fragment.frag_offset() != 0 {
                return Ok((next_header.into(), at + 8, true));
            }
            next = next_header;
            at += 8;
            continue;
        }
        let header = Ipv6ExtHeader::new_checked(rest).map_err(|_| DropReason::ExtensionHeader)?;
        // Segments left: the packet wants to go on to somebody else (RFC 8200 section 4.4).
        if next == IpProtocol::Ipv6Route && rest.get(3).is_none_or(|left| *left != 0) {
            return Err(DropReason::ExtensionHeader);
        }
        at += usize::from(header.header_len()) * 8 + 8;
        next = header.next_header();
    }
    Err(DropReason::ExtensionHeader)
}

fn tcp<'a>(
    index: u32,
    packet: &RxPacket<'a>,
    internet: &Internet,
) -> Result<Segment<'a>, DropReason> {
    let bytes = packet
        .data
        .get(internet.start..internet.end)
        .ok_or(DropReason::Truncated)?;
    let tcp = TcpPacket::new_checked(bytes).map_err(|_| DropReason::TcpHeader)?;
    if packet.verified == Verified::No && !checksum_holds(bytes, &internet.ends) {
        return Err(DropReason::TcpChecksum);
    }
    let ports = (tcp.src_port(), tcp.dst_port());
    if ports.0 == 0 || ports.1 == 0 {
        return Err(DropReason::TcpHeader);
    }
    let key = match internet.ends {
        Ends::V4(source, destination) => FlowKey::v6(
            (source.to_ipv6_mapped(), ports.0),
            (destination.to_ipv6_mapped(), ports.1),
        ),
        Ends::V6(source, destination) => FlowKey::v6((source, ports.0), (destination, ports.1)),
    };
    if key.source() == key.destination() {
        return Err(DropReason::Martian);
    }
    let start = internet.start + usize::from(tcp.header_len());
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Ok(Segment {
        packet: packet.data,
        key,
        seq: tcp.seq_number().0.cast_unsigned(),
        ack: tcp.ack_number().0.cast_unsigned(),
        flags: flags(&tcp)?,
        window: tcp.window_len(),
        data: DataRef {
            packet: index,
            start: offset(start),
            end: offset(internet.end),
        },
        options: options(tcp.options())?,
    })
}

fn checksum_holds(bytes: &[u8], ends: &Ends) -> bool {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut sum: Sum = match ends {
        Ends::V4(source, destination) => {
            pseudo_header(&source.octets(), &destination.octets(), TCP, len)
        }
        Ends::V6(source, destination) => {
            pseudo_header(&source.octets(), &destination.octets(), TCP, len)
        }
    };
    sum.add(bytes);
    sum.is_valid()
}

/// The flags that mean something here; nothing that any TCP would send is refused.
fn flags(tcp: &TcpPacket<&[u8]>) -> Result<u8, DropReason> {
    let mut flags = 0;
    for (set, flag) in [
        (tcp.fin(), FIN),
        (tcp.syn(), SYN),
        (tcp.rst(), RST),
        (tcp.psh(), PSH),
        (tcp.ack(), ACK),
    ] {
        if set {
            flags |= flag;
        }
    }
    let kinds = flags & (FIN | SYN | RST);
    if kinds.count_ones() > 1 || flags & (SYN | RST | ACK) == 0 {
        return Err(DropReason::TcpFlags);
    }
    Ok(flags)
}

fn options(bytes: &[u8]) -> Result<Options, DropReason> {
    let mut options = Options::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (next, option) = TcpOption::parse(rest).map_err(|_| DropReason::TcpHeader)?;
        match option {
            TcpOption::EndOfList => break,
            TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
            TcpOption::WindowScale(shift) => options.shift = Some(shift.min(14)),
            TcpOption::SackPermitted => options.sack_permitted = true,
            TcpOption::SackRange(sacks) => options.sacks = sacks,
            TcpOption::NoOperation | TcpOption::TimeStamp { .. } | TcpOption::Unknown { .. } => {}
        }
        rest = next;
    }
    Ok(options)
}
