//! Errors from upstream become errors about what the client sent (RFC 5508 section 4.2).
use super::*;
use crate::testing::{CLIENT_PORT, REMOTE_PORT, assert_sums, echo, ip, tcp, udp, with_flags};
use core::net::SocketAddr;
use proptest::prelude::*;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

const EXTERNAL4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const EXTERNAL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xeeee, 0, 0, 0, 0, 1);

/// The packet as it leaves upstream: another source address, another port or identifier, and
/// checksums made anew by smoltcp.
fn moved(packet: &[u8], port: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let header = Header::parse(&packet).expect("parsed");
    let is_v6 = header.is_v6();
    let at = header.payload_at;
    let (a, b): (IpAddress, IpAddress) = if is_v6 {
        let mut ip = Ipv6Packet::new_unchecked(&mut packet);
        ip.set_src_addr(EXTERNAL6);
        (EXTERNAL6.into(), header.destination.into())
    } else {
        let mut ip = Ipv4Packet::new_unchecked(&mut packet);
        ip.set_src_addr(EXTERNAL4);
        ip.fill_checksum();
        (EXTERNAL4.into(), header.destination.into())
    };
    match header.protocol {
        protocol::TCP => {
            let mut tcp = TcpPacket::new_unchecked(&mut packet[at..]);
            tcp.set_src_port(port);
            tcp.fill_checksum(&a, &b);
        }
        protocol::UDP => {
            let mut udp = UdpPacket::new_unchecked(&mut packet[at..]);
            udp.set_src_port(port);
            udp.fill_checksum(&a, &b);
        }
        protocol::ICMP => {
            let mut icmp = Icmpv4Packet::new_unchecked(&mut packet[at..]);
            icmp.set_echo_ident(port);
            icmp.fill_checksum();
        }
        _ => {
            let (IpAddress::Ipv6(a), IpAddress::Ipv6(b)) = (a, b) else {
                panic!("ICMPv6 over IPv4");
            };
            let mut icmp = Icmpv6Packet::new_unchecked(&mut packet[at..]);
            icmp.set_echo_ident(port);
            icmp.fill_checksum(&a, &b);
        }
    }
    packet
}

/// A router's error about `quote`.
fn reported(is_v6: bool, kind: u8, code: u8, rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, code, 0, 0][..], &rest, quote].concat();
    if is_v6 {
        Icmpv6Packet::new_unchecked(&mut bytes).fill_checksum(&ROUTER6, &EXTERNAL6);
        let mut packet = ip(true, protocol::ICMPV6, &bytes);
        let mut header = Ipv6Packet::new_unchecked(&mut packet);
        header.set_src_addr(ROUTER6);
        header.set_dst_addr(EXTERNAL6);
        return packet;
    }
    Icmpv4Packet::new_unchecked(&mut bytes).fill_checksum();
    let mut packet = ip(false, protocol::ICMP, &bytes);
    let mut header = Ipv4Packet::new_unchecked(&mut packet);
    header.set_src_addr(ROUTER4);
    header.set_dst_addr(EXTERNAL4);
    with_flags(packet, 0)
}

fn translated(packet: &[u8], client: SocketAddr) -> Result<Vec<u8>, Drop> {
    let header = Header::parse(packet).expect("parsed");
    let mut out = BytesMut::new();
    let len = translate(packet, &header, client, &mut out)?;
    assert_eq!(len, out.len());
    Ok(out.to_vec())
}

fn client_of(packet: &[u8], port: u16) -> SocketAddr {
    SocketAddr::new(Header::parse(packet).expect("parsed").source, port)
}

#[test]
fn rfc_5508_req_4_reporter_stays_and_quote_becomes_the_clients() {
    for is_v6 in [false, true] {
        let sent = udp(is_v6, b"to a port that is closed");
        let (kind, code) = if is_v6 { (1, 4) } else { (3, 3) };
        let error = reported(is_v6, kind, code, [0; 4], &moved(&sent, 61_000));
        let out = translated(&error, client_of(&sent, CLIENT_PORT)).expect("translated");
        assert_sums(&out);
        let header = Header::parse(&out).expect("parsed");
        let router = if is_v6 {
            IpAddr::V6(ROUTER6)
        } else {
            IpAddr::V4(ROUTER4)
        };
        assert_eq!(
            (header.source, header.destination),
            (router, client_of(&sent, 0).ip())
        );
        let at = header.payload_at;
        assert_eq!(out[at..at + 2], [kind, code]);
        assert_eq!(out[at + 8..], sent, "byte for byte");
    }
}

#[test]
fn next_hop_mtu_is_passed_on() {
    for (is_v6, kind, code) in [(false, 3, 4), (true, 2, 0)] {
        let sent = udp(is_v6, &[7; 1400]);
        let error = reported(is_v6, kind, code, [0, 0, 5, 20], &moved(&sent, 61_000));
        let out = translated(&error, client_of(&sent, CLIENT_PORT)).expect("translated");
        let header = Header::parse(&out).expect("parsed");
        let report = Report::parse(&out, &header).expect("an error");
        assert_eq!(report.mtu(), Some(1300));
        let (source, destination) = (CLIENT_PORT, REMOTE_PORT);
        assert_eq!(
            report.quoted.transport,
            Transport::Udp {
                source,
                destination
            }
        );
        assert_eq!(out.len(), if is_v6 { 1280 } else { 576 });
    }
}

#[test]
fn rfc_792_quotes_of_8_bytes_are_enough() {
    for is_v6 in [false, true] {
        let at = if is_v6 { 40 } else { 20 };
        for (sent, port) in [
            (udp(is_v6, b"cut off"), CLIENT_PORT),
            (tcp(is_v6, 5, 2, &[], b""), CLIENT_PORT),
            (echo(is_v6, 77, b"cut off"), 77),
        ] {
            let quote = &moved(&sent, 61_000)[..at + 8];
            let (kind, code) = if is_v6 { (1, 0) } else { (3, 0) };
            let error = reported(is_v6, kind, code, [0; 4], quote);
            let out = translated(&error, client_of(&sent, port)).expect("translated");
            assert!(out.ends_with(&sent[..at + 8]));
            assert_sums(&out);
        }
        let short = reported(is_v6, 3, 0, [0; 4], &moved(&udp(is_v6, b""), 1)[..at + 3]);
        assert_eq!(
            translated(&short, client_of(&udp(is_v6, b""), 1)),
            Err(Drop::BadQuote)
        );
    }
}

#[test]
fn udp_without_checksum_stays_without() {
    let sent = udp(false, b"none");
    let mut left = moved(&sent, 61_000);
    left[26..28].fill(0);
    let out = translated(
        &reported(false, 3, 3, [0; 4], &left),
        client_of(&sent, CLIENT_PORT),
    );
    let out = out.expect("translated");
    assert_eq!(out[28 + 26..28 + 28], [0, 0]);
}

#[test]
fn errors_that_cannot_be_read_are_refused() {
    let sent = udp(false, b"x");
    let left = moved(&sent, 61_000);
    let other = SocketAddr::new(IpAddr::V6(EXTERNAL6), 1);
    let good = reported(false, 3, 3, [0; 4], &left);
    assert_eq!(
        translated(&good, other),
        Err(Drop::BadQuote),
        "another family"
    );
    let mut spoilt = good;
    spoilt[50] ^= 1;
    assert_eq!(
        translated(&spoilt, client_of(&sent, 1)),
        Err(Drop::BadChecksum)
    );
    let question = echo(false, 1, &left);
    assert_eq!(
        translated(&question, client_of(&sent, 1)),
        Err(Drop::BadQuote),
        "no error"
    );
    let later = with_flags(left, 5);
    let error = reported(false, 3, 3, [0; 4], &later);
    let result = translated(&error, client_of(&sent, 1));
    assert_eq!(result, Err(Drop::BadQuote), "a fragment without ports");
    let six = reported(false, 3, 3, [0; 4], &udp(true, b"x"));
    assert_eq!(
        translated(&six, client_of(&sent, 1)),
        Err(Drop::BadQuote),
        "six in four"
    );
}

proptest! {
    /// What left upstream, quoted whole, is translated to exactly what the client sent.
    #[test]
    fn rfc_5508_translation_undoes_the_mapping(
        is_v6: bool,
        which in 0_u8..3,
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        port: u16,
    ) {
        let (sent, own) = match which {
            0 => (udp(is_v6, &payload), CLIENT_PORT),
            1 => (tcp(is_v6, 7, 0x10, &[], &payload), CLIENT_PORT),
            _ => (echo(is_v6, 4321, &payload), 4321),
        };
        let (kind, code) = if is_v6 { (1, 0) } else { (3, 0) };
        let error = reported(is_v6, kind, code, [0; 4], &moved(&sent, port));
        let out = translated(&error, client_of(&sent, own)).expect("translated");
        assert_sums(&out);
        let at = if is_v6 { 48 } else { 28 };
        let quote = &out[at..];
        assert_sums(quote);
        // Both zeros of ones' complement are right checksums.
        let transport = at - 8;
        let check = transport + [6, 16, 2][usize::from(which)];
        prop_assert_eq!(&quote[..check], &sent[..check]);
        prop_assert_eq!(&quote[check + 2..], &sent[check + 2..]);
    }
}
