//! From headers as values to packets.
use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket, TcpSeqNumber};

use super::parse::{ACK, FIN, PSH, RST, SYN};
use crate::batch::{Checksum, TxPacket};
use crate::ip;
use crate::key::FlowKey;

const TTL: u8 = 64;
const TCP: u8 = 6;
/// Where the checksum stands in a TCP header.
const CHECKSUM_OFFSET: u16 = 16;

/// A segment to the client of `key`, without its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) key: &'a FlowKey,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: Options,
}

/// Options that the stack sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Options {
    None,
    Syn {
        mss: u16,
        shift: Option<u8>,
        sack: bool,
    },
    Sack([Option<(u32, u32)>; 3]),
}

impl Options {
    /// Length in the header in bytes, padding included.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Syn { shift, sack, .. } => {
                4 + if shift.is_some() { 4 } else { 0 } + if *sack { 4 } else { 0 }
            }
            Self::Sack(ranges) => match ranges.iter().flatten().count() {
                0 => 0,
                count => 4 + 8 * count,
            },
        }
    }

    /// `bytes` is [`Options::len`] long.
    fn emit(&self, bytes: &mut [u8]) {
        let mut rest = bytes;
        match *self {
            Self::None => {}
            Self::Syn { mss, shift, sack } => {
                rest = TcpOption::MaxSegmentSize(mss).emit(rest);
                if let Some(shift) = shift {
                    rest = TcpOption::NoOperation.emit(rest);
                    rest = TcpOption::WindowScale(shift).emit(rest);
                }
                if sack {
                    rest = TcpOption::NoOperation.emit(rest);
                    rest = TcpOption::NoOperation.emit(rest);
                    TcpOption::SackPermitted.emit(rest);
                }
            }
            Self::Sack(ranges) if ranges.iter().any(Option::is_some) => {
                rest = TcpOption::NoOperation.emit(rest);
                rest = TcpOption::NoOperation.emit(rest);
                TcpOption::SackRange(ranges).emit(rest);
            }
            Self::Sack(_) => {}
        }
    }
}

/// Length of the IP header of packets of `key`, in bytes.
pub(crate) fn ip_header_len(key: &FlowKey) -> usize {
    if key.is_v4() { 20 } else { 40 }
}

/// Puts IP and TCP headers before the payload that `out` holds already. With `partial` the
/// checksum is left to the device.
pub(crate) fn tcp(out: &mut TxPacket, header: &Header<'_>, partial: bool) {
    let payload_len = out.len();
    let tcp_len = 20 + header.options.len();
    let ip_len = ip_header_len(header.key);
    let ends = (header.key.destination().ip(), header.key.source().ip());
    ip_header(&mut out.header, ends, TCP, tcp_len + payload_len);
    let Some(bytes) = out.header.get_mut(ip_len..ip_len + tcp_len) else {
        return;
    };
    tcp_header(bytes, header);
    let mut sum = ip::pseudo(ends.0, ends.1, TCP, tcp_len + payload_len);
    out.header_len = u8::try_from(ip_len + tcp_len).unwrap_or(u8::MAX);
    let checksum = if partial {
        out.checksum = Checksum::Partial {
            start: u16::try_from(ip_len).unwrap_or(u16::MAX),
            offset: CHECKSUM_OFFSET,
        };
        sum.folded()
    } else {
        sum.add(bytes);
        for piece in out.payload() {
            sum.add(piece);
        }
        sum.finish()
    };
    if let Some(bytes) = out.header.get_mut(ip_len..) {
        TcpPacket::new_unchecked(bytes).set_checksum(u16::from_be_bytes(checksum));
    }
}

/// Writes a TCP header whose checksum is 0.
pub(crate) fn tcp_header(bytes: &mut [u8], header: &Header<'_>) {
    let len = 20 + header.options.len();
    let mut tcp = TcpPacket::new_unchecked(bytes);
    tcp.set_src_port(header.key.destination().port());
    tcp.set_dst_port(header.key.source().port());
    tcp.set_seq_number(TcpSeqNumber(header.seq.cast_signed()));
    tcp.set_ack_number(TcpSeqNumber(header.ack.cast_signed()));
    tcp.clear_flags();
    tcp.set_header_len(u8::try_from(len).unwrap_or(u8::MAX));
    tcp.set_fin(header.flags & FIN != 0);
    tcp.set_syn(header.flags & SYN != 0);
    tcp.set_rst(header.flags & RST != 0);
    tcp.set_psh(header.flags & PSH != 0);
    tcp.set_ack(header.flags & ACK != 0);
    tcp.set_window_len(header.window);
    tcp.set_checksum(0);
    tcp.set_urgent_at(0);
    header.options.emit(tcp.options_mut());
}

/// Writes the IP header of a packet between `ends` (source, destination) with `len` bytes behind
/// it. Fragmentation is forbidden: segments are made to fit. (What may be cut on the way has an
/// identification; `ip::emit` makes it.)
pub(crate) fn ip_header(bytes: &mut [u8], ends: (IpAddr, IpAddr), protocol: u8, len: usize) {
    match ends {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = Ipv4Packet::new_unchecked(bytes);
            ip.set_version(4);
            ip.set_header_len(20);
            ip.set_dscp(0);
            ip.set_ecn(0);
            ip.set_total_len(u16::try_from(20 + len).unwrap_or(u16::MAX));
            ip.set_ident(0);
            ip.clear_flags();
            ip.set_dont_frag(true);
            ip.set_frag_offset(0);
            ip.set_hop_limit(TTL);
            ip.set_next_header(IpProtocol::from(protocol));
            ip.set_src_addr(source);
            ip.set_dst_addr(destination);
            ip.fill_checksum();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut ip = Ipv6Packet::new_unchecked(bytes);
            ip.set_version(6);
            ip.set_traffic_class(0);
            ip.set_flow_label(0);
            ip.set_payload_len(u16::try_from(len).unwrap_or(u16::MAX));
            ip.set_next_header(IpProtocol::from(protocol));
            ip.set_hop_limit(TTL);
            ip.set_src_addr(source);
            ip.set_dst_addr(destination);
        }
        // A key's ends are of one family, and so are the ends of errors about it.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
}
