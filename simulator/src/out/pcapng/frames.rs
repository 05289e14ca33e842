//! IP packets as they would stand on the wire, headers and checksums included.
use crate::{
    net::packet::{Flags, Icmp, IcmpKind, Transport},
    transcript::{Carries, Head},
};
use core::net::{IpAddr, SocketAddr};
use etherparse::{
    Icmpv4Type, Icmpv6Type, IpHeaders, PacketBuilder, PacketBuilderStep, TcpOptionElement, icmpv4,
    icmpv6,
};

/// Time to live of every packet.
const TTL: u8 = 64;
/// Most payload in one packet: with its headers it stays below what IPv4 can say.
const PAYLOAD_LEN_MAX: usize = 65_000;
/// Both sides scale their windows by this, so that no capture shows one that is full.
const WINDOW_SCALE: u8 = 14;
/// How much of the transport header an ICMP message quotes (RFC 792).
const QUOTED_LEN: usize = 8;

/// The packets that carry `payload` behind `head`. More than one when it is longer than a packet
/// can be, none when the two addresses are of different families.
pub(super) fn frames(head: &Head, payload: &[u8]) -> Vec<Vec<u8>> {
    let whole = match head.carries {
        Carries::Udp => payload.get(..PAYLOAD_LEN_MAX).unwrap_or(payload),
        Carries::Tcp { .. } => payload,
        Carries::Icmp(_) => &[],
        Carries::Raw => return vec![payload.to_vec()],
    };
    // A segment without payload is a packet as well.
    let parts = whole.chunks(PAYLOAD_LEN_MAX);
    let parts = if whole.is_empty() {
        vec![whole]
    } else {
        parts.collect()
    };
    let last = parts.len() - 1;
    let of_part = |(nth, part): (usize, &&[u8])| {
        let mut head = *head;
        if let Carries::Tcp { flags, offset, .. } = &mut head.carries {
            flags.fin &= nth == last;
            *offset += (nth * PAYLOAD_LEN_MAX) as u64;
        }
        frame(&head, part)
    };
    parts.iter().enumerate().filter_map(of_part).collect()
}

/// One packet.
fn frame(head: &Head, payload: &[u8]) -> Option<Vec<u8>> {
    let Head {
        source,
        destination,
        carries,
        unkept: _,
    } = head;
    let (from, to) = (source.port(), destination.port());
    let ip = ip(source.ip(), destination.ip())?;
    let mut out = Vec::with_capacity(payload.len() + 64);
    let written = match carries {
        Carries::Raw => return Some(payload.to_vec()),
        Carries::Udp => ip.udp(from, to).write_to_vec(&mut out, payload),
        Carries::Tcp { flags, offset, ack } => {
            let step = segment(ip, (from, to), *flags, (*offset, *ack));
            step.write_to_vec(&mut out, payload)
        }
        Carries::Icmp(icmp) => {
            let quoted = quoted(icmp);
            match (source.is_ipv4(), icmp.kind) {
                (true, kind) => {
                    let step = ip.icmpv4(Icmpv4Type::DestinationUnreachable(match kind {
                        IcmpKind::PacketTooBig { mtu } => {
                            let next_hop_mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                            icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }
                        }
                        IcmpKind::Unreachable => icmpv4::DestUnreachableHeader::Host,
                        IcmpKind::Prohibited => icmpv4::DestUnreachableHeader::FilterProhibited,
                    }));
                    step.write_to_vec(&mut out, &quoted)
                }
                (false, kind) => {
                    let step = ip.icmpv6(match kind {
                        IcmpKind::PacketTooBig { mtu } => {
                            let mtu = u32::try_from(mtu).unwrap_or(u32::MAX);
                            Icmpv6Type::PacketTooBig { mtu }
                        }
                        IcmpKind::Prohibited => Icmpv6Type::DestinationUnreachable(
                            icmpv6::DestUnreachableCode::Prohibited,
                        ),
                        IcmpKind::Unreachable => {
                            Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Address)
                        }
                    });
                    step.write_to_vec(&mut out, &quoted)
                }
            }
        }
    };
    written.ok().map(|()| out)
}

/// A segment that only acknowledges.
pub(super) fn acknowledgement(
    (source, destination): (SocketAddr, SocketAddr),
    offset: u64,
    ack: u64,
) -> Vec<Vec<u8>> {
    let flags = Flags::ACK;
    let head = Head {
        source,
        destination,
        carries: Carries::Tcp { flags, offset, ack },
        unkept: 0,
    };
    frames(&head, &[])
}

/// The headers of the packet that carried the payload that was not kept, and its length: what a
/// capture that cuts packets has of it. A longer payload than a packet can have shows as a gap.
pub(super) fn cut(head: &Head) -> Option<(Vec<u8>, usize)> {
    let len = usize::try_from(head.unkept).map_or(PAYLOAD_LEN_MAX, |n| n.min(PAYLOAD_LEN_MAX));
    let mut whole = frame(head, &vec![0; len])?;
    let original = whole.len();
    whole.truncate(original - len);
    Some((whole, original))
}

fn segment(
    ip: PacketBuilderStep<IpHeaders>,
    (from, to): (u16, u16),
    flags: Flags,
    (offset, ack): (u64, u64),
) -> PacketBuilderStep<etherparse::TcpHeader> {
    // The SYN has number 0, the first payload byte 1; both wrap as on the wire.
    let number = if flags.syn {
        0
    } else {
        (offset as u32).wrapping_add(1)
    };
    let mut step = ip.tcp(from, to, number, u16::MAX);
    if flags.syn {
        let scale = [TcpOptionElement::WindowScale(WINDOW_SCALE)];
        step = step.options(&scale).expect("one option has room");
        step = step.syn();
    }
    if flags.ack {
        step = step.ack((ack as u32).wrapping_add(1));
    }
    if flags.fin {
        step = step.fin();
    }
    if flags.rst {
        step = step.rst();
    }
    step
}

/// The beginning of the packet that an ICMP message is about.
fn quoted(icmp: &Icmp) -> Vec<u8> {
    let (flags, offset, ack) = (Flags::ACK, 0, 0);
    let head = Head {
        source: icmp.about_source,
        destination: icmp.about_destination,
        carries: match icmp.transport {
            Transport::Tcp => Carries::Tcp { flags, offset, ack },
            Transport::Udp => Carries::Udp,
        },
        unkept: 0,
    };
    let ip_len = if icmp.about_source.is_ipv4() { 20 } else { 40 };
    let mut packet = frame(&head, &[]).unwrap_or_default();
    packet.truncate(ip_len + QUOTED_LEN);
    packet
}

fn ip(source: IpAddr, destination: IpAddr) -> Option<PacketBuilderStep<IpHeaders>> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            Some(PacketBuilder::ipv4(source, destination, TTL))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            Some(PacketBuilder::ipv6(source, destination, TTL))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    fn head(source: &str, destination: &str, carries: Carries) -> Head {
        Head {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            carries,
            unkept: 0,
        }
    }

    const TCP: Carries = Carries::Tcp {
        flags: Flags::ACK,
        offset: u32::MAX as u64,
        ack: 4,
    };

    #[test]
    fn numbers_wrap_and_the_syn_counts() {
        let head = head("10.0.0.1:1", "10.0.0.2:2", TCP);
        let frame = &frames(&head, b"hi")[0];
        let sliced = SlicedPacket::from_ip(frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
            panic!("{sliced:?}");
        };
        assert_eq!(tcp.sequence_number(), 0);
        assert_eq!(tcp.acknowledgment_number(), 5);
        assert_eq!(tcp.payload(), b"hi");
    }

    #[test]
    fn long_segments_are_cut_and_keep_their_fin_for_the_last_part() {
        let flags = Flags {
            fin: true,
            ..Flags::ACK
        };
        let (offset, ack) = (0, 0);
        let carries = Carries::Tcp { flags, offset, ack };
        let all = frames(&head("[::1]:1", "[::2]:2", carries), &[7; 70_000]);
        let fins = all.iter().map(|frame| {
            let sliced = SlicedPacket::from_ip(frame).unwrap();
            assert!(matches!(sliced.net, Some(NetSlice::Ipv6(_))));
            match sliced.transport {
                Some(TransportSlice::Tcp(tcp)) => (tcp.fin(), tcp.sequence_number()),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(fins.collect::<Vec<_>>(), [(false, 1), (true, 65_001)]);
    }

    #[test]
    fn icmp_quotes_what_it_is_about_and_families_do_not_mix() {
        let (source, destination) = ("10.0.0.1:5", "10.0.0.9:6");
        for (mtu, kind, code) in [
            (1280, IcmpKind::PacketTooBig { mtu: 1280 }, 4),
            (0, IcmpKind::Unreachable, 1),
        ] {
            let icmp = Icmp {
                kind,
                transport: Transport::Udp,
                about_source: source.parse().unwrap(),
                about_destination: destination.parse().unwrap(),
            };
            let frame = &frames(&head("10.0.0.8:0", source, Carries::Icmp(icmp)), b"")[0];
            let message = &frame[20..];
            assert_eq!(message[..2], [3, code]);
            assert_eq!(message[6..8], u16::to_be_bytes(mtu));
            assert_eq!(message[8 + 12..8 + 20], [10, 0, 0, 1, 10, 0, 0, 9]);
            assert_eq!(message.len(), 8 + 20 + QUOTED_LEN);
        }
        assert!(frames(&head("10.0.0.1:1", "[::2]:2", TCP), b"").is_empty());
    }
}
