//! The codec, both offloads, and splitting and joining as each other's inverse.
use super::*;
use crate::ip::{Checksum, protocol};
use crate::testing::{self, assert_sums, echo, tcp, udp, with_flags};
use bytes::BytesMut;
use proptest::prelude::*;
use smoltcp::wire::{Ipv4Packet, TcpPacket};

const ACK: u8 = FLAG_ACK;

#[test]
fn header_has_the_layout_of_linux() {
    let header = Header::tcp(false, 20, 32, 4000, 1448);
    let words = [52_u16, 1448, 20, 16].map(u16::to_ne_bytes).concat();
    assert_eq!(header.emit()[..], [&[1, 1][..], &words].concat());
    assert_eq!(Header::tcp(true, 40, 20, 3000, 1440).emit()[..2], [1, 4]);
    assert_eq!(
        Header::tcp(true, 40, 20, 1440, 1440).emit()[..4],
        [1, 0, 60, 0].map(|b| b)
    );
    assert_eq!(Header::default().emit(), [0; 10]);
    let frame = [&header.emit()[..], &[9; 3]].concat();
    assert_eq!(Header::parse(&frame), Ok((header, &[9; 3][..])));
    let mut ecn = frame.clone();
    (ecn[0], ecn[1]) = (2, 0x84);
    let (parsed, _) = Header::parse(&ecn).expect("parsed");
    assert_eq!(
        (parsed.gso, parsed.ecn, parsed.data_valid),
        (Gso::TcpV6, true, true)
    );

    assert_eq!(Header::parse(&frame[..9]), Err(Drop::Truncated));
    for (kind, size, why) in [
        (3_u8, 1448_u16, Drop::UnknownGso),
        (0x20, 1448, Drop::UnknownGso),
        (1, 7, Drop::BadSegmentSize),
        (4, 0, Drop::BadSegmentSize),
        (5, 0, Drop::BadSegmentSize),
    ] {
        let mut bad = frame.clone();
        bad[1] = kind;
        bad[4..6].copy_from_slice(&size.to_ne_bytes());
        assert_eq!(Header::parse(&bad), Err(why));
    }
}

/// A super-packet as Linux hands it over: the checksum field holds the sum of the pseudo header.
fn super_packet(
    is_v6: bool,
    flags: u8,
    options: &[u8],
    payload: &[u8],
    size: u16,
) -> (Vec<u8>, Header) {
    let mut packet = tcp(is_v6, 0xffff_ff00, flags, options, payload);
    let ip = ip::Header::parse(&packet).expect("parsed");
    let deferred = defer(&mut packet, &ip).expect("TCP");
    let tcp_len = len16(20 + options.len());
    let header = Header::tcp(
        is_v6,
        len16(ip.payload_at),
        tcp_len,
        len16(payload.len()),
        size,
    );
    assert_eq!(deferred.checksum_start, header.checksum_start);
    assert_eq!(deferred.checksum_offset, header.checksum_offset);
    let ecn = header.gso != Gso::None && flags & FLAG_CWR != 0;
    (packet, Header { ecn, ..header })
}

fn segments(packet: &[u8], header: &Header) -> Vec<Vec<u8>> {
    let ip = ip::Header::parse(packet).expect("parsed");
    let mut segments = split(packet, &ip, header).expect("split");
    let mut all = Vec::new();
    let mut out = BytesMut::new();
    while let Some(len) = segments.next_into(&mut out) {
        all.push(out.split_to(len).to_vec());
    }
    assert_eq!(all.len(), segments.count());
    all
}

fn joined(packets: &[Vec<u8>]) -> Vec<(Header, Vec<u8>)> {
    let mut coalescer = Coalescer::new(64, true);
    for packet in packets {
        coalescer.push(packet, Checksum::Verify).expect("room");
    }
    let all = coalescer
        .packets()
        .map(|(header, packet)| (header, packet.to_vec()));
    all.collect()
}

#[test]
fn p17_only_the_last_segment_has_fin_and_psh_and_only_the_first_cwr() {
    let flags = ACK | FLAG_FIN | FLAG_PSH | FLAG_CWR | FLAG_ECE;
    let (packet, header) = super_packet(false, flags, &[], &[7; 2500], 1000);
    let parts = segments(&packet, &header);
    let seen: Vec<_> = parts.iter().map(|part| part[33]).collect();
    let middle = ACK | FLAG_ECE;
    assert_eq!(
        seen,
        [middle | FLAG_CWR, middle, middle | FLAG_FIN | FLAG_PSH]
    );
    let ids: Vec<_> = parts
        .iter()
        .map(|part| Ipv4Packet::new_unchecked(part).ident())
        .collect();
    assert_eq!(ids, [0x1234, 0x1235, 0x1236]);
    let numbers: Vec<_> = parts
        .iter()
        .map(|part| {
            TcpPacket::new_unchecked(&part[20..])
                .seq_number()
                .0
                .cast_unsigned()
        })
        .collect();
    assert_eq!(numbers, [0xffff_ff00, 744, 1744], "sequence numbers wrap");
    assert_eq!(joined(&parts), [(header, packet)]);
}

#[test]
fn p17_partial_checksum_is_completed_not_dropped() {
    for is_v6 in [false, true] {
        let whole = tcp(is_v6, 1, ACK, &[], b"data");
        let mut packet = whole.clone();
        let ip = ip::Header::parse(&packet).expect("parsed");
        let header = defer(&mut packet, &ip).expect("TCP");
        assert_ne!(packet, whole, "the field holds less than a checksum");
        complete(&mut packet, &ip, &header).expect("completed");
        assert_eq!(packet, whole);
    }
}

#[test]
fn p17_a_complete_checksum_is_replaced_when_it_is_deferred() {
    let mut packet = udp(true, b"complete");
    let ip = ip::Header::parse(&packet).expect("parsed");
    let header = defer(&mut packet, &ip).expect("UDP");
    assert!(header.needs_checksum);
    let field = ip::be16(&packet, 46).expect("inside");
    let pseudo = ip::pseudo_header(ip.source, ip.destination, protocol::UDP, 16);
    assert_eq!(field, pseudo, "what a device expects under NEEDS_CSUM");
    // ICMP has no pseudo header to leave behind.
    let mut other = echo(false, 1, b"x");
    let before = other.clone();
    let ip = ip::Header::parse(&other).expect("parsed");
    assert_eq!(defer(&mut other, &ip), Ok(Header::default()));
    assert_eq!(other, before);
}

#[test]
fn headers_that_lie_about_their_packet_are_refused() {
    let (packet, header) = super_packet(false, ACK, &[], &[7; 2500], 1000);
    let parsed = ip::Header::parse(&packet).expect("parsed");
    let refused = |packet: &[u8], header| {
        let ip = ip::Header::parse(packet).unwrap_or(parsed);
        split(packet, &ip, &header).expect_err("refused")
    };
    let gso = |gso| Header { gso, ..header };
    assert_eq!(refused(&packet, gso(Gso::TcpV6)), Drop::Mismatch);
    assert_eq!(refused(&packet, gso(Gso::Udp)), Drop::Mismatch);
    assert_eq!(refused(&packet[..25], header), Drop::Mismatch);
    assert_eq!(
        refused(&with_flags(packet.clone(), 0x2000), header),
        Drop::Mismatch
    );
    let mut offset = packet.clone();
    offset[32] = 0x40;
    assert_eq!(refused(&offset, header), Drop::Mismatch);
    let tiny = Header {
        gso: Gso::Udp,
        segment_size: 1,
        ..Header::default()
    };
    assert_eq!(refused(&udp(false, &[0; 129]), tiny), Drop::TooManySegments);
    assert_eq!(segments(&udp(false, &[0; 128]), &tiny).len(), 128);

    let mut packet = packet;
    assert_eq!(complete(&mut packet, &parsed, &header), Err(Drop::Unsplit));
    for (start, offset) in [(5000, 16), (20, 60_000), (20, 2519), (0, 0), (19, 16)] {
        let place = Header {
            gso: Gso::None,
            checksum_start: start,
            checksum_offset: offset,
            ..header
        };
        assert_eq!(
            complete(&mut packet, &parsed, &place),
            Err(Drop::BadChecksumPlace)
        );
        assert_eq!(refused(&packet, place), Drop::BadChecksumPlace);
    }
}

#[test]
fn a_wrong_checksum_is_never_made_right() {
    let first = tcp(true, 0, ACK, &[], &[1; 100]);
    let second = tcp(true, 100, ACK, &[], &[1; 100]);
    assert_eq!(joined(&[first.clone(), second.clone()]).len(), 1);
    for is_first in [true, false] {
        let mut pair = [first.clone(), second.clone()];
        pair[usize::from(!is_first)][80] ^= 1;
        let alone = pair.clone().map(|packet| (Header::default(), packet));
        assert_eq!(joined(&pair), alone);
        assert_eq!(segments(&pair[0], &Header::default()), pair[..1]);
    }
}

/// Zero would say that a datagram has no checksum (RFC 768).
#[test]
fn a_udp_checksum_of_zero_is_written_as_ones() {
    for is_v6 in [false, true] {
        let at = if is_v6 { 46 } else { 26 };
        let zero = udp(is_v6, &[0; 2]);
        let whole = udp(is_v6, &zero[at..at + 2]);
        assert_eq!(whole[at..at + 2], [0xff, 0xff]);
        let mut packet = whole.clone();
        let ip = ip::Header::parse(&packet).expect("parsed");
        let header = defer(&mut packet, &ip).expect("UDP");
        let cut = Header {
            gso: Gso::Udp,
            segment_size: 100,
            ..header
        };
        assert_eq!(segments(&packet, &cut), std::slice::from_ref(&whole));
        complete(&mut packet, &ip, &header).expect("completed");
        assert_eq!(packet, whole);
    }
}

#[test]
fn what_is_not_the_next_segment_is_not_joined() {
    let base = tcp(false, 0, ACK, &[], &[1; 100]);
    let next = |seq: u32, flags: u8, payload: &[u8], id: u16, change: fn(&mut [u8])| {
        let mut packet = tcp(false, seq, flags, &[], payload);
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        change(&mut packet);
        let (a, b) = (testing::CLIENT4.into(), testing::REMOTE4.into());
        TcpPacket::new_unchecked(&mut packet[20..]).fill_checksum(&a, &b);
        Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
        packet
    };
    let same: fn(&mut [u8]) = |_| ();
    let id = 0x1235;
    for (what, packet, count) in [
        ("the next", next(100, ACK, &[1; 100], id, same), 1),
        ("a shorter one", next(100, ACK, &[1; 1], id, same), 1),
        ("a longer one", next(100, ACK, &[1; 101], id, same), 2),
        ("a hole", next(101, ACK, &[1; 100], id, same), 2),
        ("a repetition", next(0, ACK, &[1; 100], id, same), 2),
        ("no payload", next(100, ACK, &[], id, same), 2),
        ("RST", next(100, ACK | 4, &[1; 100], id, same), 2),
        ("SYN", next(100, ACK | 2, &[1; 100], id, same), 2),
        ("URG", next(100, ACK | 0x20, &[1; 100], id, same), 2),
        ("CWR", next(100, ACK | FLAG_CWR, &[1; 100], id, same), 2),
        ("ECE", next(100, ACK | FLAG_ECE, &[1; 100], id, same), 2),
        ("other id", next(100, ACK, &[1; 100], 7, same), 2),
        (
            "same id without DF",
            next(100, ACK, &[1; 100], 0x1234, same),
            2,
        ),
        (
            "other window",
            next(100, ACK, &[1; 100], id, |p| p[35] ^= 1),
            2,
        ),
        (
            "other acknowledgement",
            next(100, ACK, &[1; 100], id, |p| p[31] ^= 1),
            2,
        ),
        (
            "other port",
            next(100, ACK, &[1; 100], id, |p| p[21] ^= 1),
            2,
        ),
        ("other TTL", next(100, ACK, &[1; 100], id, |p| p[8] ^= 1), 2),
        ("other ECN", next(100, ACK, &[1; 100], id, |p| p[1] ^= 3), 2),
        ("DF", next(100, ACK, &[1; 100], id, |p| p[6] = 0x40), 2),
    ] {
        let out = joined(&[base.clone(), packet.clone()]);
        assert_eq!(out.len(), count, "{what}");
        if count == 2 {
            assert_eq!(out[1], (Header::default(), packet), "{what}");
        }
    }
}

#[test]
fn rfc_6864_fixed_ids_are_joined_under_df() {
    let fixed: Vec<_> = (0..3)
        .map(|at| with_flags(tcp(false, at * 100, ACK, &[], &[1; 100]), 0x4000))
        .collect();
    let out = joined(&fixed);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].0.gso, out[0].1.len()), (Gso::TcpV4, 340));
}

#[test]
fn packets_of_a_flow_never_change_places() {
    // The hole closes the run: what fits the first run again must not join it.
    let a = tcp(true, 0, ACK, &[], &[1; 100]);
    let hole = tcp(true, 500, ACK, &[], &[2; 100]);
    let late = tcp(true, 100, ACK, &[], &[3; 100]);
    let other = udp(true, b"another flow");
    let out = joined(&[a.clone(), other.clone(), hole.clone(), late.clone()]);
    let order: Vec<_> = out.into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(order, [a, other, hole, late]);
    // A fragment has no ports: nothing between the same hosts passes it.
    let first = udp(false, &[1; 50]);
    let fragment = with_flags(testing::ipv4(protocol::UDP, &[2; 64]), 0x2001);
    let mut last = first.clone();
    last[5] += 1;
    Ipv4Packet::new_unchecked(&mut last).fill_checksum();
    assert_eq!(
        joined(&[first.clone(), last.clone()]).len(),
        1,
        "would be joined otherwise"
    );
    let out = joined(&[first.clone(), fragment.clone(), last.clone()]);
    let order: Vec<_> = out.into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(order, [first, fragment, last]);
}

#[test]
fn udp_is_joined_only_where_the_device_can_split_it() {
    let mut all = Vec::new();
    for id in 0..3_u8 {
        let mut packet = udp(false, &[id; 200]);
        packet[5] += id;
        Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
        all.push(packet);
    }
    let out = joined(&all);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].0.gso, out[0].0.segment_size), (Gso::Udp, 200));
    assert_eq!(segments(&out[0].1, &out[0].0), all);
    let mut without = Coalescer::new(4, false);
    for packet in &all {
        without.push(packet, Checksum::Trusted).expect("room");
    }
    assert_eq!(without.packets().count(), 3);
}

#[test]
fn a_batch_has_a_bound() {
    let mut coalescer = Coalescer::new(2, true);
    let packet = |seq| tcp(true, seq, ACK, &[], &[1; 1400]);
    coalescer.push(&packet(0), Checksum::Verify).expect("room");
    coalescer
        .push(&packet(9999), Checksum::Verify)
        .expect("room");
    assert_eq!(coalescer.push(&packet(77), Checksum::Verify), Err(Full));
    coalescer.clear();
    assert_eq!(coalescer.packets().count(), 0);
    for at in 0..92 {
        coalescer
            .push(&packet(at * 1400), Checksum::Verify)
            .expect("room");
    }
    let lens: Vec<_> = coalescer
        .packets()
        .map(|(_, packet)| packet.len())
        .collect();
    assert_eq!(lens, [60 + 46 * 1400, 60 + 46 * 1400]);
    assert_eq!(
        coalescer.push(&packet(92 * 1400), Checksum::Verify),
        Err(Full)
    );
}

proptest! {
    /// P17: what the device splits is joined again to the same bytes, and the other way around.
    #[test]
    fn p17_split_then_join_is_identity(
        payload in proptest::collection::vec(any::<u8>(), 2..20_000),
        size in 8_u16..9000,
        is_v6: bool,
        last in prop_oneof![Just(0), Just(FLAG_PSH), Just(FLAG_PSH | FLAG_FIN)],
        ecn in prop_oneof![Just(0), Just(FLAG_ECE), Just(FLAG_CWR)],
        options in prop_oneof![Just(vec![]), Just(vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8])],
    ) {
        let flags = ACK | last | ecn;
        let (packet, header) = super_packet(is_v6, flags, &options, &payload, size);
        let parts = segments(&packet, &header);
        for part in &parts {
            assert_sums(part);
        }
        if parts.len() == 1 {
            prop_assert_eq!(joined(&parts), [(Header::default(), parts[0].clone())]);
        } else {
            let again = joined(&parts);
            prop_assert_eq!(&again, &[(header, packet)]);
            prop_assert_eq!(segments(&again[0].1, &again[0].0), parts);
        }
    }

    #[test]
    fn p17_udp_split_then_join_is_identity(
        payload in proptest::collection::vec(any::<u8>(), 2..8000),
        size in 200_u16..2000,
        is_v6: bool,
    ) {
        let mut packet = udp(is_v6, &payload);
        let ip = ip::Header::parse(&packet).expect("parsed");
        let deferred = defer(&mut packet, &ip).expect("UDP");
        let header_len = len16(ip.payload_at + 8);
        let header = Header { gso: Gso::Udp, header_len, segment_size: size, ..deferred };
        let parts = segments(&packet, &header);
        for part in &parts {
            assert_sums(part);
        }
        if parts.len() > 1 {
            prop_assert_eq!(joined(&parts), [(header, packet)]);
        }
    }

    /// A batch of any packets comes out with the same packets per flow, in order.
    #[test]
    fn joining_loses_and_reorders_nothing(
        picks in proptest::collection::vec((0_u32..3, 0_u32..4, any::<bool>()), 1..40),
    ) {
        let packets: Vec<_> = picks
            .iter()
            .enumerate()
            .map(|(id, (kind, at, is_v6))| {
                let mut packet = match kind {
                    0 => tcp(*is_v6, at * 64, ACK, &[], &[1; 64]),
                    1 => udp(*is_v6, &[2; 64]),
                    _ => echo(*is_v6, 1, &[3; 10]),
                };
                if !is_v6 {
                    packet[4..6].copy_from_slice(&len16(id).to_be_bytes());
                    Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
                }
                packet
            })
            .collect();
        let mut out = Vec::new();
        for (header, packet) in joined(&packets) {
            match header.gso {
                Gso::None => out.push(packet),
                Gso::TcpV4 | Gso::TcpV6 | Gso::Udp => out.extend(segments(&packet, &header)),
            }
        }
        let flow = |all: &[Vec<u8>], is_v6: bool, next: u8| -> Vec<Vec<u8>> {
            let at = if is_v6 { 6 } else { 9 };
            let fits = |p: &&Vec<u8>| (p[0] >> 4 == 6) == is_v6 && p[at] == next;
            all.iter().filter(fits).cloned().collect()
        };
        for is_v6 in [false, true] {
            for next in [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMPV6] {
                prop_assert_eq!(flow(&out, is_v6, next), flow(&packets, is_v6, next));
            }
        }
    }

    #[test]
    fn p15_no_frame_panics(mut frame in proptest::collection::vec(any::<u8>(), 0..120), kind in 0_u8..6, real: bool) {
        if real {
            let (packet, header) = super_packet(false, ACK, &[], &[5; 60], 16);
            let noise = frame;
            frame = [&header.emit()[..], &packet].concat();
            for pair in noise.chunks_exact(2).take(4) {
                let at = usize::from(pair[0]) % frame.len();
                frame[at] = pair[1];
            }
        } else if frame.len() > 1 {
            frame[1] = kind;
        }
        if let Ok((header, packet)) = Header::parse(&frame) {
            let mut out = BytesMut::new();
            if let Ok(ip) = ip::Header::parse(packet)
                && let Ok(mut parts) = split(packet, &ip, &header)
            {
                while parts.next_into(&mut out).is_some() {}
            }
            let mut packet = packet.to_vec();
            if let Ok(ip) = ip::Header::parse(&packet) {
                let _ = complete(&mut packet, &ip, &header);
                assert_eq!(ip::Header::parse(&packet), Ok(ip), "the header is not touched");
            }
            let mut coalescer = Coalescer::new(1, true);
            let _ = coalescer.push(&packet, Checksum::Trusted);
            assert!(coalescer.packets().count() <= 1);
        }
    }
}
