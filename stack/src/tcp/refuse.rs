//! Refusals on the wire: RST, or an ICMP error that quotes the SYN (RFC 792, RFC 4443).
use std::net::IpAddr;

use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};

use super::context::Context;
use super::flow::Bare;
use super::half_open::HalfOpen;
use crate::batch::{Checksum, TxPacket};
use crate::event::Reject;
use crate::ip::{self, Sum};
use crate::key::FlowKey;
use crate::wire::emit::{self, Header, Options};
use crate::wire::parse::{ACK, RST, SYN};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
/// Header of an ICMP error, in bytes.
const ICMP_LEN: usize = 8;
/// The TCP header that is quoted, without its options.
const QUOTED_LEN: usize = 20;

/// A packet that belongs to no connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    Segment(Bare),
    /// Destination unreachable, with its code; quotes the SYN with this sequence number.
    Unreachable {
        key: FlowKey,
        irs: u32,
        window: u16,
        code: u8,
    },
}

/// What a refusal looks like; `None`: nothing is said.
pub(crate) fn refusal(half: &HalfOpen, reject: Reject) -> Option<Control> {
    let v4 = half.key.is_v4();
    let code = match reject {
        Reject::Silent => return None,
        Reject::Refused | Reject::PolicyReset => {
            return Some(Control::Segment(Bare {
                key: half.key,
                seq: 0,
                ack: half.irs.wrapping_add(1),
                flags: RST | ACK,
                window: 0,
            }));
        }
        Reject::HostUnreachable if v4 => 1,
        Reject::HostUnreachable => 3,
        Reject::NoRoute => 0,
        Reject::Policy if v4 => 13,
        Reject::Policy => 1,
    };
    Some(Control::Unreachable {
        key: half.key,
        irs: half.irs,
        window: half.window,
        code,
    })
}

impl Control {
    /// Writes the packet.
    pub(crate) fn emit(&self, context: &mut Context, out: &mut TxPacket) {
        let partial = context.config.checksum_offload;
        match self {
            Self::Segment(bare) => {
                if bare.flags & RST != 0 {
                    context.counters.resets_sent += 1;
                }
                let header = Header {
                    key: &bare.key,
                    seq: bare.seq,
                    ack: bare.ack,
                    flags: bare.flags,
                    window: bare.window,
                    options: Options::None,
                };
                emit::tcp(out, &header, partial);
            }
            Self::Unreachable {
                key,
                irs,
                window,
                code,
            } => unreachable(out, key, (*irs, *window), *code),
        }
    }
}

/// An error from the original destination: "here is nobody", quoting the client's own SYN.
fn unreachable(out: &mut TxPacket, key: &FlowKey, (irs, window): (u32, u16), code: u8) {
    let (client, destination) = (key.source().ip(), key.destination().ip());
    let ip_len = emit::ip_header_len(key);
    let quote = ip_len + QUOTED_LEN;
    let v4 = key.is_v4();
    let protocol = if v4 { ICMP } else { ICMPV6 };
    let ends = (destination, client);
    emit::ip_header(&mut out.header, ends, protocol, ICMP_LEN + quote);
    if let Some(bytes) = out.header.get_mut(ip_len + ICMP_LEN..) {
        quoted_syn(bytes, key, irs, window);
    }
    let len = ICMP_LEN + quote;
    if let Some(bytes) = out.header.get_mut(ip_len..ip_len + len) {
        for byte in bytes.iter_mut().take(ICMP_LEN) {
            *byte = 0;
        }
        let sum = icmp_sum(ends, v4, len);
        if v4 {
            let mut icmp = Icmpv4Packet::new_unchecked(&mut *bytes);
            icmp.set_msg_type(smoltcp::wire::Icmpv4Message::DstUnreachable);
            icmp.set_msg_code(code);
        } else {
            let mut icmp = Icmpv6Packet::new_unchecked(&mut *bytes);
            icmp.set_msg_type(smoltcp::wire::Icmpv6Message::DstUnreachable);
            icmp.set_msg_code(code);
        }
        let mut sum = sum;
        sum.add(bytes);
        if let Some(place) = bytes.get_mut(2..4) {
            place.copy_from_slice(&sum.finish());
        }
    }
    out.header_len = u8::try_from(ip_len + len).unwrap_or(u8::MAX);
    out.checksum = Checksum::Full;
}

fn icmp_sum(ends: (IpAddr, IpAddr), v4: bool, len: usize) -> Sum {
    if v4 {
        return Sum::default();
    }
    ip::pseudo(ends.0, ends.1, ICMPV6, len)
}

/// The SYN as far as it is known: addresses, ports, sequence number, window.
fn quoted_syn(bytes: &mut [u8], key: &FlowKey, irs: u32, window: u16) {
    let ip_len = emit::ip_header_len(key);
    // The header of segments to the client, with its ends exchanged.
    let turned = FlowKey::new(key.destination(), key.source());
    let ends = (key.source().ip(), key.destination().ip());
    emit::ip_header(bytes, ends, TCP, QUOTED_LEN);
    let header = Header {
        key: &turned,
        seq: irs,
        ack: 0,
        flags: SYN,
        window,
        options: Options::None,
    };
    let Some(tcp) = bytes.get_mut(ip_len..ip_len + QUOTED_LEN) else {
        return;
    };
    emit::tcp_header(tcp, &header);
    let mut sum = ip::pseudo(ends.0, ends.1, TCP, QUOTED_LEN);
    sum.add(tcp);
    if let Some(place) = tcp.get_mut(16..18) {
        place.copy_from_slice(&sum.finish());
    }
}
