//! The arithmetic of two MTUs (RFC 1191, 8201, 8200, 9293), and MSS rewriting.
use super::*;
use crate::ip::{Field, Header};
use crate::testing::{assert_sums, tcp, udp, with_flags};
use crate::vnet;
use bytes::BytesMut;
use proptest::prelude::*;
use smoltcp::wire::TcpPacket;

const SYN: u8 = 2;

#[test]
fn p13_p14_defaults_and_names_are_those_of_prism() {
    let config = PrismConfig::default();
    assert_eq!((config.tun_mtu, config.egress_mtu), (65_535, 1280));
    assert_eq!(config.address.to_string(), "10.11.12.1");
    assert_eq!(config.handshake_mode, crate::Handshake::Fast);
    assert_eq!((TCP_RX_BUFFER_SIZE, TCP_TX_BUFFER_SIZE), (2 << 20, 2 << 20));
    assert_eq!(
        (BATCH_SIZE, CHANNEL_SIZE, TX_POOL_MAX_SIZE),
        (64, 8192, 128)
    );
    assert_eq!(DEFAULT_MSS_CLAMP, config.egress_mtu);
    assert!(config.budget(0).is_ok());
}

#[test]
fn p1_tun_mtu_is_1280_to_65535() {
    for (mtu, ok) in [(1279, false), (1280, true), (1500, true), (65_535, true)] {
        assert_eq!(Budget::new(mtu, 1280, 0).is_ok(), ok);
    }
    assert_eq!(Budget::new(1000, 1280, 0), Err(BadMtu::Tun(1000)));
}

#[test]
fn p10_mss_arithmetic() {
    for (egress, overhead, v4, v6) in [
        (1280, 0, 1240, 1220),
        (1420, 0, 1380, 1360),
        (1500, 80, 1380, 1360),
        (1280, 80, 1160, 1140),
    ] {
        let budget = Budget::new(65_535, egress, overhead).expect("possible");
        assert_eq!(
            (budget.clamped_mss(false), budget.clamped_mss(true)),
            (v4, v6)
        );
    }
}

#[test]
fn p12_egress_mtu_changes_at_run_time_or_not_at_all() {
    let mut budget = PrismConfig::default().budget(40).expect("possible");
    assert_eq!(budget.udp_payload_max(false), 1280 - 40 - 28);
    budget.set_egress_mtu(1420).expect("possible");
    assert_eq!(budget.udp_payload_max(false), 1420 - 40 - 28);
    assert_eq!(budget.udp_payload_max(true), 1420 - 40 - 48);
    assert_eq!(budget.clamped_mss(true), 1320);
    let (egress_mtu, overhead) = (615, 40);
    let bad = BadMtu::Egress {
        egress_mtu,
        overhead,
    };
    assert_eq!(budget.set_egress_mtu(egress_mtu), Err(bad));
    assert_eq!(budget.egress_mtu(), 1420);
    budget.set_egress_mtu(616).expect("576 are left");
    assert_eq!(
        bad.to_string(),
        "egress MTU 615 less 40 bytes of overhead is under 576"
    );
}

fn verdict(carrier: Carrier, packet: &[u8], payload_len: usize) -> Verdict {
    let budget = Budget::new(65_535, 1420, 80).expect("possible");
    let header = Header::parse(packet).expect("parsed");
    budget.datagram(carrier, &header, payload_len)
}

#[test]
fn p9_p11_a_datagram_over_the_budget_is_never_silent() {
    use Carrier::{Datagrams, Fragmenting, Packets, Stream};
    let too_big = |mtu, reason| Verdict::TooBig { mtu, reason };
    let v4 = |len| udp(false, &vec![0; len]);
    let df = |len| with_flags(v4(len), 0x4000);
    let v6 = |len| udp(true, &vec![0; len]);
    // 1420 - 80 - 20 - 8, and 20 less for IPv6.
    for (packet, len, all) in [
        (v4(1312), 1312, true),
        (df(1312), 1312, true),
        (v6(1292), 1292, true),
        (v4(1313), 1313, false),
        (v6(1293), 1293, false),
    ] {
        for carrier in [Stream, Fragmenting, Datagrams, Packets] {
            let carried = verdict(carrier, &packet, len) == Verdict::Carry;
            assert_eq!(carried, all || carrier == Stream);
        }
    }
    for (carrier, packet, expected) in [
        (Fragmenting, df(2000), Verdict::Fragment),
        (Fragmenting, v6(2000), Verdict::Fragment),
        (Datagrams, df(2000), too_big(1340, Drop::DontFragment)),
        (Datagrams, v4(2000), too_big(1340, Drop::NoFragments)),
        (Datagrams, v6(2000), too_big(1340, Drop::PacketTooBig)),
        (Packets, df(2000), too_big(1340, Drop::DontFragment)),
        (Packets, v4(2000), Verdict::Split { mtu: 1340 }),
        (Packets, v6(2000), too_big(1340, Drop::PacketTooBig)),
    ] {
        assert_eq!(verdict(carrier, &packet, 2000), expected, "{carrier:?}");
    }
    let longest = v6(65_508 - 48);
    let too_long = too_big(65_535, Drop::TooLong);
    assert_eq!(
        verdict(Stream, &longest, 65_508),
        too_long,
        "longer than a stream carries"
    );
}

#[test]
fn rfc_8200_packet_too_big_never_says_less_than_1280() {
    let budget = Budget::new(65_535, 1280, 80).expect("possible");
    for (len, reason) in [(1300, Drop::PacketTooBig), (1200, Drop::BelowIpv6Minimum)] {
        let packet = udp(true, &vec![0; len]);
        let header = Header::parse(&packet).expect("parsed");
        let expected = Verdict::TooBig { mtu: 1280, reason };
        assert_eq!(budget.datagram(Carrier::Datagrams, &header, len), expected);
        assert_eq!(budget.packet(&header), expected);
    }
}

#[test]
fn p9_packets_over_the_budget() {
    let budget = Budget::new(65_535, 1420, 80).expect("possible");
    let judge = |packet: &[u8]| budget.packet(&Header::parse(packet).expect("parsed"));
    let exact = tcp(false, 1, 0x10, &[], &[0; 1300]);
    assert_eq!(judge(&exact), Verdict::Carry);
    let over = tcp(false, 1, 0x10, &[], &[0; 1301]);
    assert_eq!(judge(&over), Verdict::Split { mtu: 1340 });
    let (mtu, reason) = (1340, Drop::DontFragment);
    assert_eq!(
        judge(&with_flags(over, 0x4000)),
        Verdict::TooBig { mtu, reason }
    );
}

fn clamp(packet: &[u8], limit: u16) -> (Result<Rewrite, Drop>, Vec<u8>) {
    let header = Header::parse(packet).expect("parsed");
    let mut bytes = BytesMut::from(packet);
    let result = clamp_mss(&mut bytes, &header, limit, Field::Complete);
    (result, bytes.to_vec())
}

fn mss_of(packet: &[u8]) -> Option<u16> {
    let header = Header::parse(packet).expect("parsed");
    let tcp = TcpPacket::new_checked(header.payload(packet)).expect("TCP");
    let repr = smoltcp::wire::TcpRepr::parse(
        &tcp,
        &header.source.into(),
        &header.destination.into(),
        &smoltcp::phy::ChecksumCapabilities::default(),
    );
    repr.expect("valid").max_seg_size
}

/// Prism changed a copy and forwarded the original.
#[test]
fn p10_mss_is_lowered_in_the_packet_itself_and_never_raised() {
    for is_v6 in [false, true] {
        for flags in [SYN, SYN | 0x10] {
            for options in [
                &[2, 4, 5, 180, 1, 1, 4, 2][..],
                // At an odd place.
                &[1, 2, 4, 5, 180, 1, 1, 1],
                &[4, 2, 1, 1, 2, 4, 5, 180],
            ] {
                let syn = tcp(is_v6, 1, flags, options, &[]);
                let (result, out) = clamp(&syn, 1220);
                assert_eq!(result, Ok(Rewrite::Lowered));
                assert_eq!(mss_of(&out), Some(1220));
                assert_sums(&out);
                assert_eq!(clamp(&syn, 1460), (Ok(Rewrite::Unchanged), syn));
            }
        }
        let data = tcp(is_v6, 1, 0x10, &[2, 4, 5, 180], b"no SYN");
        assert_eq!(clamp(&data, 500), (Ok(Rewrite::Unchanged), data));
        let other = udp(is_v6, b"no TCP");
        assert_eq!(clamp(&other, 500), (Ok(Rewrite::Unchanged), other));
    }
}

#[test]
fn p10_absent_mss_is_inserted_only_where_the_default_is_too_much() {
    for (is_v6, limit, result, mss) in [
        (false, 536, Rewrite::Unchanged, None),
        (false, 1240, Rewrite::Unchanged, None),
        (false, 535, Rewrite::Inserted, Some(535)),
        (true, 1220, Rewrite::Unchanged, None),
        (true, 1140, Rewrite::Inserted, Some(1140)),
    ] {
        // Data in a SYN moves along.
        let syn = tcp(is_v6, 1, SYN, &[1, 3, 3, 7], b"fast open!");
        let (done, out) = clamp(&syn, limit);
        assert_eq!((done, mss_of(&out)), (Ok(result), mss));
        assert_sums(&out);
        assert!(out.ends_with(&[b"\x01\x03\x03\x07", &b"fast open!"[..]].concat()));
    }
    let full = tcp(true, 1, SYN, &[1; 40], &[]);
    assert_eq!(clamp(&full, 1140), (Ok(Rewrite::NoRoom), full));
}

#[test]
fn p17_mss_under_a_deferred_checksum() {
    for (is_v6, options) in [(false, &[2, 4, 5, 180][..]), (true, &[1, 1, 1, 1])] {
        let mut packet = BytesMut::from(&tcp(is_v6, 1, SYN, options, &[])[..]);
        let header = Header::parse(&packet).expect("parsed");
        let vnet = vnet::defer(&mut packet, &header).expect("TCP");
        let result = clamp_mss(&mut packet, &header, 1100, Field::Partial);
        assert_ne!(result, Ok(Rewrite::Unchanged));
        let header = Header::parse(&packet).expect("parsed");
        vnet::complete(&mut packet, &header, &vnet).expect("completed");
        assert_sums(&packet);
        assert_eq!(mss_of(&packet), Some(1100));
    }
}

#[test]
fn malformed_syns_are_named() {
    for options in [
        [2, 3, 5, 180],
        [2, 0, 5, 180],
        [3, 5, 7, 0],
        [1, 1, 1, 2],
        [2, 2, 1, 1],
    ] {
        let syn = tcp(false, 1, SYN, &options, &[]);
        assert_eq!(clamp(&syn, 500), (Err(Drop::BadTcpHeader), syn));
    }
    let mut short = tcp(false, 1, SYN, &[], &[]);
    short[32] = 0x40;
    assert_eq!(clamp(&short, 500).0, Err(Drop::BadTcpHeader));
    short[32] = 0x60;
    assert_eq!(clamp(&short, 500).0, Err(Drop::BadTcpHeader));
    let mut cut = Header::parse(&short).expect("parsed");
    cut.total_len = 30;
    let result = clamp_mss(&mut BytesMut::from(&short[..]), &cut, 500, Field::Complete);
    assert_eq!(result, Err(Drop::BadTcpHeader));
    // Padding after the end of options means nothing.
    let ended = tcp(false, 1, SYN, &[0, 2, 4, 5], &[]);
    assert_eq!(clamp(&ended, 1240).0, Ok(Rewrite::Unchanged));
}

proptest! {
    #[test]
    fn rewritten_checksums_equal_a_recompute(
        is_v6: bool,
        mss: u16,
        limit in 48_u16..2000,
        before in 0_usize..8,
        seq: u32,
        data in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let mut options = vec![1; before];
        options.extend([2, 4]);
        options.extend(mss.to_be_bytes());
        options.resize(options.len().next_multiple_of(4), 0);
        let syn = tcp(is_v6, seq, SYN, &options, &data);
        let (result, out) = clamp(&syn, limit);
        prop_assert!(result.is_ok());
        assert_sums(&out);
        prop_assert_eq!(mss_of(&out), Some(mss.min(limit)));
    }

    #[test]
    fn p15_no_tcp_header_panics(is_v6: bool, segment in proptest::collection::vec(any::<u8>(), 0..80), limit: u16) {
        let mut segment = segment;
        if let Some(flags) = segment.get_mut(13) {
            *flags |= SYN;
        }
        let packet = crate::testing::ip(is_v6, 6, &segment);
        let (result, out) = clamp(&packet, limit);
        if result.is_err() {
            prop_assert_eq!(out, packet);
        }
    }
}
