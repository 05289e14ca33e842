//! Putting fragments together: RFC 791, 815, 1858, 3128, 3168, 5722, 6946, 8200.
use super::tests_split::cut;
use super::*;
use crate::ip::Header;
use crate::testing::{CLIENT6, ipv4, ipv6, tcp, udp, with_flags};
use bytes::BytesMut;
use proptest::prelude::*;
use sansbox_core::Instant;
use smoltcp::wire::Ipv4Packet;

const NOW: Instant = Instant::ZERO;

fn give(to: &mut Reassembler, packet: &[u8]) -> Result<Option<Vec<u8>>, Drop> {
    give_at(to, NOW, packet)
}

fn give_at(to: &mut Reassembler, now: Instant, packet: &[u8]) -> Result<Option<Vec<u8>>, Drop> {
    let header = Header::parse(packet).expect("parsed");
    let mut out = BytesMut::new();
    let len = to.handle_fragment(now, packet, &header, &mut out)?;
    assert_eq!(len.unwrap_or(0), out.len());
    Ok(len.map(|_| out.to_vec()))
}

fn new() -> Reassembler {
    Reassembler::new(Limits::default())
}

/// A fragment with `data` at `offset` of a packet `id`.
fn part(is_v6: bool, id: u16, offset: u16, more: bool, data: &[u8]) -> Vec<u8> {
    if is_v6 {
        let [a, b] = (offset | u16::from(more)).to_be_bytes();
        let [c, d] = id.to_be_bytes();
        return ipv6(44, &[&[17, 0, a, b, 0, 0, c, d], data].concat());
    }
    let mut packet = ipv4(17, data);
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    with_flags(packet, if more { 0x2000 } else { 0 } | (offset / 8))
}

#[test]
fn rfc_5722_any_overlap_loses_the_packet_and_what_is_still_to_come() {
    for is_v6 in [false, true] {
        for (what, offset, more, len) in [
            ("at its start", 8, true, 16),
            ("at its end", 24, true, 16),
            ("its last 8 bytes", 32, true, 16),
            ("its first 8 bytes", 8, true, 16),
            ("inside", 24, true, 8),
            ("around", 8, true, 40),
            ("same place, other bytes", 16, true, 24),
            ("same place, other length", 16, true, 16),
            ("same place, now the last", 16, false, 24),
        ] {
            let mut all = new();
            let first = part(is_v6, 1, 0, true, &[0; 8]);
            let second = part(is_v6, 1, 16, true, &[1; 24]);
            give(&mut all, &first).expect("taken");
            give(&mut all, &second).expect("taken");
            let data = if what.starts_with("same place, now") {
                1
            } else {
                2
            };
            let bad = part(is_v6, 1, offset, more, &vec![data; len]);
            assert_eq!(give(&mut all, &bad), Err(Drop::Overlap), "{what}");
            // All that would have made it whole comes too late.
            for late in [
                part(is_v6, 1, 8, true, &[0; 8]),
                part(is_v6, 1, 40, false, &[0; 8]),
                second,
                first,
            ] {
                assert_eq!(give(&mut all, &late), Err(Drop::Refused), "{what}");
            }
            assert_eq!(all.len(), 1);
            let mut quoted = BytesMut::new();
            let later = NOW + REASSEMBLY_TIMEOUT;
            assert_eq!(all.expire(later, &mut quoted), Some(0), "nobody is told");
            assert_eq!(all.drops().of(Drop::TimedOut), 0);
        }
    }
}

#[test]
fn rfc_8200_an_exact_repetition_is_passed_over() {
    for is_v6 in [false, true] {
        let mut all = new();
        let (first, last) = (
            part(is_v6, 1, 0, true, &[0; 8]),
            part(is_v6, 1, 8, false, &[1; 3]),
        );
        assert_eq!(give(&mut all, &last), Ok(None));
        assert_eq!(give(&mut all, &last), Err(Drop::Duplicate));
        assert!(give(&mut all, &first).expect("taken").is_some());
        assert_eq!(all.drops().of(Drop::Duplicate), 1);
        assert!(all.is_empty());
    }
}

#[test]
fn fragments_that_disagree_on_the_end_lose_the_packet() {
    for is_v6 in [false, true] {
        for (what, parts) in [
            (
                "past the end",
                [(0, true, 8), (16, false, 8), (24, true, 8)],
            ),
            ("two ends", [(0, true, 8), (16, false, 8), (8, false, 8)]),
            (
                "an end before data",
                [(0, true, 8), (24, true, 8), (8, false, 8)],
            ),
        ] {
            let mut all = new();
            let mut last = Ok(None);
            for (offset, more, len) in parts {
                last = give(&mut all, &part(is_v6, 1, offset, more, &vec![0; len]));
            }
            assert_eq!(last, Err(Drop::BadEnd), "{what}");
        }
    }
}

#[test]
fn rfc_1858_and_3128_tiny_fragments() {
    let syn = &tcp(false, 1, 2, &[2, 4, 5, 180], &[])[20..];
    let data = [syn, &[0; 24]].concat();
    let fragment = |flags, data: &[u8]| with_flags(ipv4(6, data), flags);
    for (what, packet) in [
        ("the indirect method", fragment(0x2001, &data[..16])),
        ("the last 8 bytes in", fragment(1, &data[8..])),
        ("no flags", fragment(0x2000, &data[..8])),
        ("half a header", fragment(0x2000, &data[..16])),
        ("half the options", fragment(0, &data[..0])),
    ] {
        if what == "half the options" {
            let mut longer = data[..24].to_vec();
            longer[12] = 0x70;
            assert_eq!(
                give(&mut new(), &fragment(0x2000, &longer)),
                Err(Drop::Tiny),
                "{what}"
            );
        } else {
            assert_eq!(give(&mut new(), &packet), Err(Drop::Tiny), "{what}");
        }
    }
    assert_eq!(give(&mut new(), &fragment(0x2000, &data[..24])), Ok(None));
    // UDP and ICMP headers are 8 bytes long.
    assert_eq!(
        give(&mut new(), &part(false, 1, 8, true, &[0; 8])),
        Ok(None)
    );
    assert_eq!(
        give(&mut new(), &part(false, 1, 0, true, &[0; 8])),
        Ok(None)
    );
    assert_eq!(give(&mut new(), &udp(false, b"whole")), Err(Drop::Whole));
}

#[test]
fn rfc_3168_ecn_marks_survive() {
    for is_v6 in [false, true] {
        let marked = |mut packet: Vec<u8>, ecn: u8| {
            if is_v6 {
                packet[1] = ecn << 4;
            } else {
                packet[1] = ecn;
                Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
            }
            packet
        };
        for (a, b, whole) in [
            (2, 2, Some(2)),
            (2, 3, Some(3)),
            (3, 1, Some(3)),
            (0, 0, Some(0)),
            (0, 2, Some(0)),
            (0, 3, None),
            (3, 0, None),
        ] {
            let mut all = new();
            give(&mut all, &marked(part(is_v6, 1, 0, true, &[0; 8]), a)).expect("taken");
            match give(&mut all, &marked(part(is_v6, 1, 8, false, &[0; 8]), b)) {
                Ok(packet) => {
                    let header = Header::parse(&packet.expect("whole")).expect("parsed");
                    assert_eq!(Some(header.traffic_class & 3), whole, "{a} {b}");
                }
                Err(reason) => assert_eq!((reason, whole), (Drop::EcnMixed, None)),
            }
        }
    }
}

#[test]
fn packets_are_told_apart_by_addresses_id_and_protocol() {
    let mut all = new();
    give(&mut all, &part(false, 1, 0, true, &[0; 8])).expect("taken");
    give(&mut all, &part(false, 2, 0, true, &[0; 8])).expect("taken");
    let mut other = part(false, 1, 0, true, &[0; 8]);
    other[9] = 99;
    Ipv4Packet::new_unchecked(&mut other).fill_checksum();
    give(&mut all, &other).expect("taken");
    let mut host = part(false, 1, 0, true, &[0; 8]);
    host[15] += 1;
    Ipv4Packet::new_unchecked(&mut host).fill_checksum();
    give(&mut all, &host).expect("taken");
    give(&mut all, &part(true, 1, 0, true, &[0; 8])).expect("taken");
    assert_eq!(all.len(), 5);
    // RFC 8200: only the number in the first fragment counts.
    let mut last = part(true, 1, 8, false, &[0; 8]);
    last[40] = 99;
    let whole = give(&mut all, &last).expect("taken").expect("whole");
    assert_eq!((whole[6], whole.len(), all.len()), (17, 56, 4));
}

#[test]
fn a_first_header_that_makes_the_packet_too_long_is_refused() {
    let mut all = new();
    let tail = part(false, 0x1234, 65_504, false, &[0; 11]);
    give(&mut all, &tail).expect("65,535 bytes with a plain header");
    for offset in (0..65_504).step_by(1400) {
        let len = usize::from((65_504 - offset).min(1400));
        let result = give(&mut all, &part_with_options(offset, len));
        let is_last = usize::from(offset) + len == 65_504;
        assert_eq!(
            result,
            if is_last {
                Err(Drop::TooLong)
            } else {
                Ok(None)
            }
        );
    }
    assert!(all.is_empty());
}

/// The first fragment has a longer header than the others.
fn part_with_options(offset: u16, len: usize) -> Vec<u8> {
    if offset > 0 {
        return with_flags(ipv4(17, &vec![0; len]), 0x2000 | (offset / 8));
    }
    let mut packet = ipv4(17, &vec![0; len + 4]);
    packet[0] = 0x46;
    packet[20..24].copy_from_slice(&[148, 4, 0, 0]);
    with_flags(packet, 0x2000)
}

#[test]
fn p11_missing_fragments_end_in_a_quotable_first_fragment() {
    for is_v6 in [false, true] {
        let mut all = new();
        let first = part(is_v6, 1, 0, true, &[7; 16]);
        give(&mut all, &part(is_v6, 1, 24, true, &[8; 16])).expect("taken");
        give(&mut all, &first).expect("taken");
        let second = NOW + Duration::from_secs(1);
        give_at(&mut all, second, &part(is_v6, 2, 8, true, &[8; 16])).expect("taken");
        let due = NOW + REASSEMBLY_TIMEOUT;
        assert_eq!(all.poll_timeout(), Some(due));
        let mut quoted = BytesMut::new();
        assert_eq!(all.expire(second, &mut quoted), None, "not yet");
        assert_eq!(all.expire(due, &mut quoted), Some(first.len()));
        assert_eq!(quoted, first);
        assert_eq!(all.expire(due, &mut quoted), None);
        let due = second + REASSEMBLY_TIMEOUT;
        assert_eq!(all.poll_timeout(), Some(due));
        assert_eq!(
            all.expire(due, &mut quoted),
            Some(0),
            "without a first fragment"
        );
        assert_eq!(all.drops().of(Drop::TimedOut), 2);
        assert_eq!(all.poll_timeout(), None);
    }
}

#[test]
fn p16_a_flood_of_fragments_stays_in_budget() {
    let limits = Limits {
        memory: 256 << 10,
        ..Limits::default()
    };
    let mut all = Reassembler::new(limits);
    for at in 0..20_000_u16 {
        let is_v6 = at % 2 == 0;
        let offset = (at % 40) * 1200;
        drop(give(
            &mut all,
            &part(is_v6, at / 40, offset, true, &[7; 1200]),
        ));
        assert!(all.memory() <= limits.memory, "{}", all.memory());
        assert!(all.len() <= CONTEXTS_MAX);
    }
    assert!(all.drops().of(Drop::Evicted) > 0);
    // The default budget holds whole packets of the longest length.
    let mut all = new();
    for id in 0..200 {
        for offset in (0..64_000).step_by(1400) {
            give(&mut all, &part(true, id, offset, true, &[7; 1400])).expect("taken");
            assert!(all.memory() <= MEMORY_MAX);
        }
    }
    assert!(all.len() >= 32, "{} in the making", all.len());
}

#[test]
fn p16_the_longest_offset_with_little_data_costs_little() {
    let mut all = new();
    for id in 0..64 {
        give(&mut all, &part(false, id, 65_512, false, &[7; 3])).expect("taken");
    }
    assert!(all.memory() < 64 * 4096, "{}", all.memory());
}

#[test]
fn a_flood_takes_the_place_of_its_own_packets() {
    let mut all = new();
    let mut mine = part(false, 7, 0, true, &[0; 8]);
    mine[15] = 99;
    Ipv4Packet::new_unchecked(&mut mine).fill_checksum();
    give(&mut all, &mine).expect("taken");
    for id in 0..10_000 {
        give(&mut all, &part(false, id, 0, true, &[0; 8])).expect("taken");
    }
    assert_eq!(all.len(), CONTEXTS_MAX);
    let mut last = part(false, 7, 8, false, &[0; 8]);
    last[15] = 99;
    Ipv4Packet::new_unchecked(&mut last).fill_checksum();
    assert!(give(&mut all, &last).expect("taken").is_some());
}

#[test]
fn limits_that_hold_nothing_refuse_and_do_not_loop() {
    for limits in [
        Limits {
            contexts: 0,
            ..Limits::default()
        },
        Limits {
            memory: 0,
            ..Limits::default()
        },
        Limits {
            memory: 600,
            ..Limits::default()
        },
    ] {
        let mut all = Reassembler::new(limits);
        assert_eq!(
            give(&mut all, &part(false, 1, 0, true, &[0; 8])),
            Err(Drop::NoMemory)
        );
        assert_eq!((all.len(), all.memory()), (0, 0));
    }
}

#[test]
fn the_number_of_fragments_has_a_bound() {
    let mut all = new();
    let max = u16::try_from(FRAGMENTS_MAX).expect("fits");
    for at in 0..max {
        assert_eq!(
            give(&mut all, &part(false, 1, at * 16, true, &[0; 8])),
            Ok(None)
        );
    }
    let result = give(&mut all, &part(false, 1, max * 16, true, &[0; 8]));
    assert_eq!(result, Err(Drop::TooMany));
    assert!(all.memory() < 300 << 10);
}

proptest! {
    /// Any order and any repetition of the fragments give the packet, once.
    #[test]
    fn p8_any_permutation_and_duplication_is_the_original(
        payload in proptest::collection::vec(any::<u8>(), 1200..6000),
        mtu in 96_usize..1200,
        is_v6: bool,
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40),
    ) {
        let packet = udp(is_v6, &payload);
        let parts = cut(&packet, mtu, 77).expect("cut");
        let mut shuffled: Vec<_> = order.iter().map(|at| at.get(&parts).clone()).collect();
        let mut rest = parts;
        let by = order.len() % rest.len();
        rest.rotate_left(by);
        shuffled.extend(rest);
        let mut all = new();
        let mut whole = Vec::new();
        for part in &shuffled {
            match give(&mut all, part) {
                Ok(None) | Err(Drop::Duplicate) => {}
                Ok(Some(packet)) => whole.push(packet),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        // Repetitions after the end may make it whole again, and always the same.
        prop_assert!(!whole.is_empty());
        prop_assert!(whole.iter().all(|made| *made == packet));
    }

    #[test]
    fn p15_no_fragments_panic_or_leave_the_budget(
        parts in proptest::collection::vec((any::<bool>(), 0_u16..3, 0_u16..20, any::<bool>(), 1_usize..100, 0_u64..40), 1..200),
    ) {
        let limits = Limits { contexts: 3, memory: 10_000, ..Limits::default() };
        let mut all = Reassembler::new(limits);
        let mut now = NOW;
        for (is_v6, id, offset, more, len, wait) in parts {
            now += Duration::from_secs(wait);
            let len = if more { len.next_multiple_of(8) } else { len };
            drop(give_at(&mut all, now, &part(is_v6, id, offset * 8, more, &vec![7; len])));
            prop_assert!(all.memory() <= limits.memory && all.len() <= limits.contexts);
            let mut quoted = BytesMut::new();
            while all.expire(now, &mut quoted).is_some() {}
            prop_assert!(all.poll_timeout().is_none_or(|due| due > now));
        }
    }
}

#[test]
fn martians_do_not_reach_the_table() {
    let mut packet = part(true, 1, 0, true, &[0; 8]);
    packet[8] = 0xff;
    assert!(Header::parse(&packet).is_err());
    packet[8..24].copy_from_slice(&CLIENT6.octets());
    assert!(Header::parse(&packet).is_ok());
}
