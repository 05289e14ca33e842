//! Tables of RFC 791, 1071, 1624, 4443, 6946, 7112, 8200, and properties.
use super::*;
use crate::testing::{self, CLIENT4, CLIENT6, REMOTE4, REMOTE6, assert_sums, ipv4, ipv6, udp};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use proptest::prelude::*;
use smoltcp::wire::{Ipv4Packet, UdpPacket};

#[test]
fn every_reason_is_counted_alone() {
    let mut drops = Drops::default();
    drops.count(Drop::Martian);
    drops.count(Drop::Martian);
    drops.count(Drop::Truncated);
    assert_eq!((drops.of(Drop::Martian), drops.of(Drop::Jumbogram)), (2, 0));
    assert_eq!(drops.total(), 3);
}

fn reason(packet: &[u8]) -> Drop {
    Header::parse(packet).expect_err("refused").reason
}

/// Changes one byte of an IPv4 packet and sums its header up again.
fn changed(mut packet: Vec<u8>, at: usize, to: u8) -> Vec<u8> {
    packet[at] = to;
    Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
    packet
}

#[test]
fn rfc_791_headers() {
    let whole = ipv4(17, &[0; 8]);
    let header = Header::parse(&whole).expect("parsed");
    assert_eq!(header.source, IpAddr::V4(CLIENT4));
    assert_eq!(header.destination, IpAddr::V4(REMOTE4));
    assert_eq!((header.protocol, header.payload_range()), (17, 20..28));
    assert!(!header.dont_fragment && header.fragment.is_none());

    let padded = [&whole[..], &[0; 18]].concat();
    assert_eq!(
        Header::parse(&padded)
            .expect("parsed")
            .payload(&padded)
            .len(),
        8
    );

    for (what, packet, why) in [
        ("empty", vec![], Drop::Truncated),
        (
            "version 5",
            changed(whole.clone(), 0, 0x55),
            Drop::BadVersion,
        ),
        ("short", whole[..19].to_vec(), Drop::Truncated),
        ("cut off", whole[..27].to_vec(), Drop::Truncated),
        ("IHL 4", changed(whole.clone(), 0, 0x44), Drop::BadHeaderLen),
        (
            "IHL past the end",
            [&[0x48], &whole[1..]].concat(),
            Drop::BadHeaderLen,
        ),
        (
            "total under IHL",
            changed(whole.clone(), 3, 19),
            Drop::BadHeaderLen,
        ),
        (
            "from any",
            changed(changed(whole.clone(), 12, 0), 12, 127),
            Drop::Martian,
        ),
        (
            "from multicast",
            changed(whole.clone(), 12, 224),
            Drop::Martian,
        ),
        (
            "to loopback",
            changed(whole.clone(), 16, 127),
            Drop::Martian,
        ),
    ] {
        assert_eq!(reason(&packet), why, "{what}");
    }
    let mut broken = whole;
    broken[8] ^= 1;
    assert_eq!(reason(&broken), Drop::BadHeaderChecksum);
}

#[test]
fn p5_syn_from_the_unspecified_address_is_refused() {
    let mut v4 = testing::tcp(false, 1, 2, &[], &[]);
    v4[12..16].fill(0);
    Ipv4Packet::new_unchecked(&mut v4).fill_checksum();
    assert_eq!(reason(&v4), Drop::Martian);
    let mut v6 = testing::tcp(true, 1, 2, &[], &[]);
    v6[8..24].fill(0);
    assert_eq!(reason(&v6), Drop::Martian);
}

#[test]
fn rfc_791_options() {
    let with = |options: &[u8]| {
        let mut packet = ipv4(17, &[options, &[0; 8]].concat());
        packet[0] = 0x40 | u8::try_from(5 + options.len() / 4).expect("fits");
        Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
        packet
    };
    let router_alert = [148, 4, 0, 0];
    let packet = with(&router_alert);
    assert_eq!(Header::parse(&packet).expect("parsed").payload_at, 24);
    assert!(Header::parse(&with(&[1, 1, 1, 0])).is_ok());
    assert_eq!(reason(&with(&[131, 4, 4, 0])), Drop::SourceRoute);
    assert_eq!(reason(&with(&[1, 137, 3, 4])), Drop::SourceRoute);
    for bad in [[7, 1, 0, 0], [7, 9, 0, 0], [1, 1, 1, 7]] {
        let refused = Header::parse(&with(&bad)).expect_err("refused");
        let pointer = if bad[0] == 7 { 20 } else { 23 };
        assert_eq!(refused.reason, Drop::BadOption);
        assert_eq!(refused.problem, Some(Problem { code: 0, pointer }));
    }
}

#[test]
fn rfc_791_fragments() {
    let fragment = |flags, len| testing::with_flags(ipv4(17, &vec![0; len]), flags);
    let first = Header::parse(&fragment(0x2000, 16)).expect("parsed");
    let inner = first.fragment.expect("a fragment");
    assert!(inner.more && first.has_upper_header());
    assert_eq!((inner.id, inner.offset, inner.data_at), (0x1234, 0, 20));
    let last = Header::parse(&fragment(2, 5)).expect("parsed");
    assert!(!last.has_upper_header());
    assert_eq!(last.fragment.expect("a fragment").offset, 16);
    for (flags, len) in [(0x2000, 15), (0x2000, 0), (2, 0), (0x1fff, 8), (0x1ffd, 4)] {
        assert_eq!(
            reason(&fragment(flags, len)),
            Drop::BadFragment,
            "{flags:x} {len}"
        );
    }
    // 20 + 65,512 + 3 is the longest packet.
    assert!(Header::parse(&fragment(0x1ffd, 3)).is_ok());
}

/// An extension header of 8 bytes in front of `next`.
fn extension(next: u8, body: [u8; 6]) -> Vec<u8> {
    [&[next, 0][..], &body].concat()
}

const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

#[test]
fn rfc_8200_chains() {
    let udp8 = [0; 8];
    let plain = ipv6(17, &udp8);
    let header = Header::parse(&plain).expect("parsed");
    assert_eq!(header.source, IpAddr::V6(CLIENT6));
    assert_eq!(header.destination, IpAddr::V6(REMOTE6));
    assert!(header.dont_fragment && header.is_v6());
    let chain = [
        extension(60, PAD),
        extension(43, PAD),
        extension(60, [4, 0, 0, 0, 0, 0]),
        extension(17, PAD),
        udp8.to_vec(),
    ]
    .concat();
    // The third is a routing header without segments left.
    let packet = ipv6(0, &chain);
    let header = Header::parse(&packet).expect("parsed");
    assert_eq!((header.protocol, header.payload_at), (17, 40 + 32));
    assert_eq!(
        Header::parse(&ipv6(59, &[])).expect("parsed").protocol,
        protocol::NONE
    );
}

const UDP8: [u8; 8] = [0; 8];

fn assert_refused(packet: &[u8], why: Drop, told: Option<(u8, u16)>) {
    let refused = Header::parse(packet).expect_err("refused");
    let told = told.map(|(code, pointer)| Problem { code, pointer });
    assert_eq!((refused.reason, refused.problem), (why, told));
}

#[test]
fn rfc_8200_section_4_2_unknown_options() {
    let with = |kind: u8| {
        let header = extension(17, [kind, 4, 0, 0, 0, 0]);
        ipv6(60, &[&header[..], &UDP8].concat())
    };
    let multicast = |mut packet: Vec<u8>| {
        packet[24] = 0xff;
        packet
    };
    assert!(Header::parse(&with(0x20)).is_ok(), "skip");
    assert_refused(&with(0x40), Drop::BadOption, None);
    assert_refused(&with(0x80), Drop::BadOption, Some((2, 42)));
    assert_refused(&with(0xc0), Drop::BadOption, Some((2, 42)));
    assert_refused(&multicast(with(0x80)), Drop::BadOption, Some((2, 42)));
    assert_refused(&multicast(with(0xc0)), Drop::BadOption, None);
    assert_refused(&with(0xc2), Drop::Jumbogram, Some((2, 42)));
}

#[test]
fn rfc_4443_parameter_problems_of_extension_headers() {
    let with =
        |first: u8, headers: &[Vec<u8>]| ipv6(first, &[&headers.concat()[..], &UDP8].concat());
    let late = with(60, &[extension(0, PAD), extension(17, PAD)]);
    assert_refused(&late, Drop::BadExtension, Some((1, 40)));
    let past = with(0, &[extension(17, [1, 9, 0, 0, 0, 0])]);
    assert_refused(&past, Drop::BadOption, Some((0, 42)));
    let type_0 = with(43, &[extension(17, [0, 1, 0, 0, 0, 0])]);
    assert_refused(&type_0, Drop::SourceRoute, Some((0, 42)));
    let cut = ipv6(60, &[17, 1, 0, 0, 0, 0, 0, 0]);
    assert_refused(&cut, Drop::Truncated, None);
}

#[test]
fn extension_headers_have_limits() {
    let chain = |count: usize| {
        let mut bytes = Vec::new();
        for at in 1..=count {
            bytes.extend(extension(if at == count { 17 } else { 60 }, PAD));
        }
        bytes.extend([0; 8]);
        ipv6(60, &bytes)
    };
    assert!(Header::parse(&chain(EXTENSION_HEADERS_MAX)).is_ok());
    assert_eq!(
        reason(&chain(EXTENSION_HEADERS_MAX + 1)),
        Drop::TooManyExtensions
    );

    let long = |units: u8| {
        let mut bytes = vec![17, units];
        bytes.resize(usize::from(units) * 8 + 8, 0);
        bytes.extend([0; 8]);
        ipv6(60, &bytes)
    };
    assert!(Header::parse(&long(63)).is_ok());
    assert_eq!(reason(&long(64)), Drop::TooManyExtensions);

    let options = |count: usize| {
        let mut bytes = vec![17, 3];
        bytes.extend([0x20, 0].repeat(count));
        bytes.resize(32, 0);
        bytes.extend([0; 8]);
        ipv6(60, &bytes)
    };
    assert!(Header::parse(&options(OPTIONS_MAX)).is_ok());
    assert_eq!(reason(&options(OPTIONS_MAX + 1)), Drop::TooManyExtensions);
}

fn fragment6(next: u8, offset_and_more: u16, data: &[u8]) -> Vec<u8> {
    let [a, b] = offset_and_more.to_be_bytes();
    ipv6(44, &[&[next, 0, a, b, 0, 0, 0, 9], data].concat())
}

#[test]
fn rfc_8200_fragments() {
    let first = Header::parse(&fragment6(17, 1, &[0; 16])).expect("parsed");
    let inner = first.fragment.expect("a fragment");
    assert_eq!((inner.id, inner.offset, inner.more), (9, 0, true));
    assert_eq!(
        (inner.head_len, inner.next_header_at, inner.data_at),
        (40, 6, 48)
    );
    // Data of a later fragment is never read as TCP.
    let later = Header::parse(&fragment6(6, 16, &[0; 3])).expect("parsed");
    assert!(!later.has_upper_header());
    let atomic = Header::parse(&fragment6(17, 0, &[0; 16])).expect("parsed");
    assert_eq!(
        (atomic.fragment, atomic.protocol, atomic.payload_at),
        (None, 17, 48)
    );

    let refused = |packet: &[u8]| {
        let refused = Header::parse(packet).expect_err("refused");
        (refused.reason, refused.problem)
    };
    let problem = |code, pointer| Some(Problem { code, pointer });
    assert_eq!(
        refused(&fragment6(17, 1, &[0; 15])),
        (Drop::BadFragment, problem(0, 4))
    );
    assert_eq!(
        refused(&fragment6(17, 0xfff8, &[0; 8])),
        (Drop::BadFragment, problem(0, 42))
    );
    assert!(Header::parse(&fragment6(17, 0xfff8, &[0; 7])).is_ok());
    let twice = fragment6(44, 1, &[17, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(refused(&twice), (Drop::BadExtension, problem(1, 40)));
}

#[test]
fn rfc_7112_first_fragment_has_the_whole_chain() {
    let tcp_with_options = [&[0; 12][..], &[0x60], &[0; 11]].concat();
    let extended = [&[6, 0][..], &PAD, &tcp_with_options].concat();
    for (packet, ok) in [
        (fragment6(6, 1, &tcp_with_options), true),
        (fragment6(6, 1, &tcp_with_options[..16]), false),
        (fragment6(60, 1, &extended), true),
        (fragment6(60, 1, &extended[..16]), false),
        (fragment6(60, 1, &[6, 1, 0, 0, 0, 0, 0, 0]), false),
        (fragment6(17, 1, &[0; 8]), true),
    ] {
        match Header::parse(&packet) {
            Ok(_) => assert!(ok),
            Err(refused) => {
                assert!(!ok);
                assert_eq!(refused.reason, Drop::IncompleteFirstFragment);
                let (code, pointer) = (3, 0);
                assert_eq!(refused.problem, Some(Problem { code, pointer }));
            }
        }
    }
}

#[test]
fn rfc_768_datagrams() {
    for is_v6 in [false, true] {
        let good = udp(is_v6, b"payload");
        let header = Header::parse(&good).expect("parsed");
        let at = header.payload_at;
        let datagram = Datagram::parse(&good, &header, Checksum::Verify).expect("parsed");
        assert_eq!(&good[datagram.payload.clone()], b"payload");
        assert_eq!(datagram.source_port, testing::CLIENT_PORT);
        assert_eq!(datagram.destination_port, testing::REMOTE_PORT);
        let parse = |at: usize, to: [u8; 2], checksum| {
            let mut packet = good.clone();
            packet[at..at + 2].copy_from_slice(&to);
            Datagram::parse(&packet, &header, checksum).map(|datagram| datagram.payload.len())
        };
        assert_eq!(
            parse(at + 4, [0, 7], Checksum::Verify),
            Err(Drop::BadUdpLen)
        );
        assert_eq!(
            parse(at + 4, [0, 16], Checksum::Verify),
            Err(Drop::BadUdpLen)
        );
        assert_eq!(
            parse(at + 8, *b"xx", Checksum::Verify),
            Err(Drop::BadUdpChecksum)
        );
        assert_eq!(parse(at + 8, *b"xx", Checksum::Trusted), Ok(7));
        let absent = parse(at + 6, [0, 0], Checksum::Verify);
        assert_eq!(
            absent,
            if is_v6 {
                Err(Drop::BadUdpChecksum)
            } else {
                Ok(7)
            }
        );
        let short = Header {
            total_len: at + 7,
            ..header
        };
        assert_eq!(
            Datagram::parse(&good, &short, Checksum::Verify),
            Err(Drop::Truncated)
        );
    }
}

#[test]
fn emitted_datagrams_have_a_longest_length() {
    let v4 = [
        SocketAddr::from((REMOTE4, 53)),
        SocketAddr::from((CLIENT4, 4000)),
    ];
    let v6 = [
        SocketAddr::from((REMOTE6, 53)),
        SocketAddr::from((CLIENT6, 4000)),
    ];
    for ([a, b], max) in [(v4, 65_507), (v6, 65_527)] {
        let mut out = BytesMut::new();
        assert_eq!(emit_udp(a, b, 1, &vec![0; max + 1], &mut out), None);
        assert!(out.is_empty());
        let head = if a.is_ipv6() { 48 } else { 28 };
        assert_eq!(emit_udp(a, b, 1, &vec![7; max], &mut out), Some(head + max));
        assert_sums(&out);
    }
    assert_eq!(emit_udp(v4[0], v6[0], 1, &[], &mut BytesMut::new()), None);
}

proptest! {
    #[test]
    fn p15_no_bytes_panic_and_what_is_parsed_is_inside(
        first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
        next in prop_oneof![Just(0_u8), Just(43), Just(44), Just(60), any::<u8>()],
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let len = bytes.len();
        if len > 40 {
            bytes[0] = first;
            if first == 0x60 {
                bytes[4..6].copy_from_slice(&len16(len - 40).to_be_bytes());
                bytes[6] = next;
            } else {
                bytes[2..4].copy_from_slice(&len16(len).to_be_bytes());
                put(&mut bytes, 10, &[0; 2]);
                let head = usize::from(bytes[0] & 15) * 4;
                let check = !sum(&bytes[..head.min(len)]);
                put(&mut bytes, 10, &check.to_be_bytes());
            }
        }
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(header.payload_at <= header.total_len && header.total_len <= len);
            if let Some(fragment) = header.fragment {
                prop_assert!(fragment.head_len <= fragment.data_at);
                prop_assert!(fragment.data_at <= header.payload_at);
            }
            drop(Datagram::parse(&bytes, &header, Checksum::Verify));
        }
    }

    #[test]
    fn sums_equal_those_of_smoltcp(payload in proptest::collection::vec(any::<u8>(), 0..300), is_v6: bool) {
        let packet = udp(is_v6, &payload);
        let header = Header::parse(&packet).expect("parsed");
        let segment = header.payload(&packet);
        prop_assert!(is_valid(header.source, header.destination, 17, segment));
        let mut out = BytesMut::new();
        let source = SocketAddr::new(header.source, testing::CLIENT_PORT);
        let destination = SocketAddr::new(header.destination, testing::REMOTE_PORT);
        let id = 0x1234;
        let len = emit_udp(source, destination, id, &payload, &mut out);
        prop_assert_eq!(len, Some(packet.len()));
        prop_assert_eq!(&out[..], &packet[..]);
    }

    /// RFC 1624: an update in place equals a full recompute.
    #[test]
    fn rfc_1624_update_equals_recompute(
        mut payload in proptest::collection::vec(any::<u8>(), 2..64),
        new: [u8; 2],
        is_v6: bool,
    ) {
        let old: [u8; 2] = [payload[0], payload[1]];
        let before = udp(is_v6, &payload);
        let at = if is_v6 { 40 } else { 20 };
        let check = be16(&before, at + 6).expect("inside");
        payload[..2].copy_from_slice(&new);
        let after = udp(is_v6, &payload);
        let updated = update(check, sum(&old), sum(&new));
        let full = UdpPacket::new_unchecked(&after[at..]).checksum();
        // Both zeros of ones' complement are right; a UDP sender avoids one.
        prop_assert!(updated == full || (updated == 0 && full == 0xffff));
    }

    #[test]
    fn sum_is_that_of_rfc_1071(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut wide = 0_u32;
        for pair in bytes.chunks(2) {
            wide += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        while wide > 0xffff {
            wide = (wide >> 16) + (wide & 0xffff);
        }
        prop_assert_eq!(u32::from(sum(&bytes)), wide);
    }
}
