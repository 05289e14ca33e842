//! Packets for tests. Their checksums, and the verdict on those of others, are smoltcp's.
use crate::ip::protocol;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv6Address,
    Ipv6Packet, TcpPacket, UdpPacket,
};

pub(crate) const CLIENT4: Ipv4Address = Ipv4Address::new(10, 11, 12, 2);
pub(crate) const REMOTE4: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);

pub(crate) const CLIENT6: Ipv6Address = Ipv6Address::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const REMOTE6: Ipv6Address = Ipv6Address::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const CLIENT_PORT: u16 = 40_000;
pub(crate) const REMOTE_PORT: u16 = 443;

/// A packet from the client to the remote, without options, not fragmented, DF clear.
pub(crate) fn ipv4(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + payload.len()];
    bytes[20..].copy_from_slice(payload);
    let total = u16::try_from(bytes.len()).expect("fits");
    let mut ip = Ipv4Packet::new_unchecked(&mut bytes);
    ip.set_version(4);
    ip.set_header_len(20);
    ip.set_total_len(total);
    ip.set_ident(0x1234);
    ip.set_hop_limit(64);
    ip.set_next_header(IpProtocol::from(next));
    ip.set_src_addr(CLIENT4);
    ip.set_dst_addr(REMOTE4);
    ip.fill_checksum();
    bytes
}

pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40 + payload.len()];
    bytes[40..].copy_from_slice(payload);
    let mut ip = Ipv6Packet::new_unchecked(&mut bytes);
    ip.set_version(6);
    ip.set_payload_len(u16::try_from(payload.len()).expect("fits"));
    ip.set_hop_limit(64);
    ip.set_next_header(IpProtocol::from(next));
    ip.set_src_addr(CLIENT6);
    ip.set_dst_addr(REMOTE6);
    bytes
}

fn addresses(is_v6: bool) -> (IpAddress, IpAddress) {
    if is_v6 {
        (CLIENT6.into(), REMOTE6.into())
    } else {
        (CLIENT4.into(), REMOTE4.into())
    }
}

pub(crate) fn ip(is_v6: bool, next: u8, payload: &[u8]) -> Vec<u8> {
    if is_v6 {
        ipv6(next, payload)
    } else {
        ipv4(next, payload)
    }
}

/// A TCP packet with `options` padded by the caller to a multiple of 4.
pub(crate) fn tcp(is_v6: bool, seq: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let head = 20 + options.len();
    let mut bytes = vec![0; head];
    bytes[..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    bytes[2..4].copy_from_slice(&REMOTE_PORT.to_be_bytes());
    bytes[4..8].copy_from_slice(&seq.to_be_bytes());
    bytes[8..12].copy_from_slice(&77_u32.to_be_bytes());
    bytes[12] = u8::try_from(head / 4).expect("fits") << 4;
    bytes[13] = flags;
    bytes[14..16].copy_from_slice(&1000_u16.to_be_bytes());
    bytes[20..].copy_from_slice(options);
    bytes.extend_from_slice(payload);
    let (a, b) = addresses(is_v6);
    TcpPacket::new_unchecked(&mut bytes).fill_checksum(&a, &b);
    ip(is_v6, protocol::TCP, &bytes)
}

pub(crate) fn udp_segment(is_v6: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend_from_slice(payload);
    let len = u16::try_from(bytes.len()).expect("fits");
    let (a, b) = addresses(is_v6);
    let mut udp = UdpPacket::new_unchecked(&mut bytes);
    udp.set_src_port(CLIENT_PORT);
    udp.set_dst_port(REMOTE_PORT);
    udp.set_len(len);
    udp.fill_checksum(&a, &b);
    bytes
}

pub(crate) fn udp(is_v6: bool, payload: &[u8]) -> Vec<u8> {
    ip(is_v6, protocol::UDP, &udp_segment(is_v6, payload))
}

/// An echo request.
pub(crate) fn echo(is_v6: bool, ident: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![if is_v6 { 128 } else { 8 }, 0, 0, 0];
    bytes.extend_from_slice(&ident.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(payload);
    if is_v6 {
        Icmpv6Packet::new_unchecked(&mut bytes).fill_checksum(&CLIENT6, &REMOTE6);
        ipv6(protocol::ICMPV6, &bytes)
    } else {
        Icmpv4Packet::new_unchecked(&mut bytes).fill_checksum();
        ipv4(protocol::ICMP, &bytes)
    }
}

/// Sets DF or another bit of the flags, and sums up again.
pub(crate) fn with_flags(mut packet: Vec<u8>, flags: u16) -> Vec<u8> {
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
    packet
}

/// Fails unless smoltcp finds lengths and every checksum of the packet right.
pub(crate) fn assert_sums(packet: &[u8]) {
    let (a, b, next, payload): (IpAddress, IpAddress, IpProtocol, &[u8]) = if packet[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(packet).expect("lengths");
        assert!(ip.verify_checksum(), "IPv4 header");
        assert_eq!(usize::from(ip.total_len()), packet.len());
        let (a, b) = (ip.src_addr().into(), ip.dst_addr().into());
        (a, b, ip.next_header(), ip.payload())
    } else {
        let ip = Ipv6Packet::new_checked(packet).expect("lengths");
        assert_eq!(ip.total_len(), packet.len());
        let (a, b) = (ip.src_addr().into(), ip.dst_addr().into());
        (a, b, ip.next_header(), ip.payload())
    };
    match u8::from(next) {
        protocol::TCP => {
            let tcp = TcpPacket::new_checked(payload).expect("lengths");
            assert!(tcp.verify_checksum(&a, &b), "TCP");
        }
        protocol::UDP => {
            let udp = UdpPacket::new_checked(payload).expect("lengths");
            assert_eq!(usize::from(udp.len()), payload.len());
            assert!(udp.verify_checksum(&a, &b), "UDP");
        }
        protocol::ICMP => {
            let icmp = Icmpv4Packet::new_checked(payload).expect("lengths");
            assert!(icmp.verify_checksum(), "ICMP");
        }
        protocol::ICMPV6 => {
            let icmp = Icmpv6Packet::new_checked(payload).expect("lengths");
            let (IpAddress::Ipv6(a), IpAddress::Ipv6(b)) = (a, b) else {
                panic!("ICMPv6 over IPv4");
            };
            assert!(icmp.verify_checksum(&a, &b), "ICMPv6");
        }
        _ => {}
    }
}
