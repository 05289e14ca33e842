//! From a received packet to a TCP segment.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket};

use crate::batch::{DataRef, Other, RxPacket, Verified};
use crate::counters::DropReason;
use crate::ip::{self, Refused, Sum};
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

/// Why a packet is not taken.
pub(crate) enum Wrong {
    /// For its IP header.
    Ip(Refused),
    /// For what is behind it.
    Tcp(DropReason),
}

/// Where the TCP header is, and between whom.
struct Internet {
    start: usize,
    end: usize,
    ends: Ends,
}

enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// Reads one packet, the `index`-th of its batch.
pub(crate) fn parse<'a>(index: u32, packet: &RxPacket<'a>) -> Result<Parsed<'a>, Wrong> {
    let internet = match plain(packet) {
        Some(internet) => internet,
        None => {
            let header = ip::Header::parse(packet.data).map_err(Wrong::Ip)?;
            if header.protocol != TCP || header.fragment.is_some() {
                let packet = index;
                return Ok(Parsed::Other(Other { packet, header }));
            }
            behind(&header).map_err(Wrong::Tcp)?
        }
    };
    let segment = tcp(index, packet, &internet).map_err(Wrong::Tcp)?;
    Ok(Parsed::Tcp(segment))
}

/// TCP right behind an IP header without options and without fault, as nearly all of it comes.
/// This is a short cut and nothing else: `None` leaves the packet to [`ip::Header::parse`], which
/// takes it all the same or knows what is wrong with it.
fn plain(packet: &RxPacket<'_>) -> Option<Internet> {
    let data = packet.data;
    match *data.first()? {
        0x45 => {
            let ip = Ipv4Packet::new_checked(data).ok()?;
            let is_whole = !ip.more_frags() && ip.frag_offset() == 0;
            let is_tcp = ip.next_header() == IpProtocol::Tcp && is_whole;
            let sums_up = packet.verified == Verified::Trusted || ip.verify_checksum();
            let (source, destination) = (ip.src_addr(), ip.dst_addr());
            let is_usual = |at: Ipv4Addr| {
                let [first, ..] = at.octets();
                (1..224).contains(&first) && first != 127
            };
            let usual = is_usual(source) && is_usual(destination);
            (is_tcp && sums_up && usual).then(|| Internet {
                start: usize::from(ip.header_len()),
                end: usize::from(ip.total_len()),
                ends: Ends::V4(source, destination),
            })
        }
        0x60..=0x6f => {
            let ip = Ipv6Packet::new_checked(data).ok()?;
            let (source, destination) = (ip.src_addr(), ip.dst_addr());
            // Neither multicast nor one of the addresses that begin with zeros, all of them odd.
            let is_usual = |at: Ipv6Addr| {
                let [first, ..] = at.octets();
                (1..0xff).contains(&first)
            };
            let usual = is_usual(source) && is_usual(destination);
            (ip.next_header() == IpProtocol::Tcp && usual).then(|| Internet {
                start: ip.header_len(),
                end: ip.total_len(),
                ends: Ends::V6(source, destination),
            })
        }
        _ => None,
    }
}

/// The same of a header that was read in full.
fn behind(header: &ip::Header) -> Result<Internet, DropReason> {
    let ends = match (header.source, header.destination) {
        _ if ip::is_many(header.destination) => return Err(DropReason::Martian),
        (IpAddr::V4(source), IpAddr::V4(destination)) => Ends::V4(source, destination),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Ends::V6(source, destination),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(DropReason::Martian);
        }
    };
    Ok(Internet {
        start: header.payload_at,
        end: header.total_len,
        ends,
    })
}

fn tcp<'a>(
    index: u32,
    packet: &RxPacket<'a>,
    internet: &Internet,
) -> Result<Segment<'a>, DropReason> {
    let bytes = packet
        .data
        .get(internet.start..internet.end)
        .ok_or(DropReason::TcpHeader)?;
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
    let len = bytes.len();
    let mut sum = match ends {
        Ends::V4(source, destination) => {
            Sum::pseudo(&source.octets(), &destination.octets(), TCP, len)
        }
        Ends::V6(source, destination) => {
            Sum::pseudo(&source.octets(), &destination.octets(), TCP, len)
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
