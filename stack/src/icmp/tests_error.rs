//! Errors about clients' packets, and their limits: RFC 1122, 1191, 1812, 4443, 8201.
use super::tests::{error, message, new};
use super::*;
use crate::ip::Problem;
use crate::testing::{CLIENT4, REMOTE4, REMOTE6, assert_sums, echo, ipv6, udp, with_flags};
use core::time::Duration;
use sansbox_core::Refusal;

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 11, 12, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const NOW: Instant = Instant::ZERO;

#[test]
fn rfc_792_and_4443_types_codes_and_fields() {
    let problem = |code| Kind::ParameterProblem(Problem { code, pointer: 6 });
    for (kind, v4, v6) in [
        (Kind::NetUnreachable, [3, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]),
        (
            Kind::HostUnreachable,
            [3, 1, 0, 0, 0, 0],
            [1, 3, 0, 0, 0, 0],
        ),
        (
            Kind::ProtocolUnreachable,
            [3, 2, 0, 0, 0, 0],
            [4, 1, 0, 0, 0, 6],
        ),
        (
            Kind::PortUnreachable,
            [3, 3, 0, 0, 0, 0],
            [1, 4, 0, 0, 0, 0],
        ),
        (
            Kind::AdminProhibited,
            [3, 13, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
        ),
        (
            Kind::TooBig { mtu: 1340 },
            [3, 4, 0, 0, 5, 60],
            [2, 0, 0, 0, 5, 60],
        ),
        // RFC 8200: nobody goes below 1280.
        (
            Kind::TooBig { mtu: 600 },
            [3, 4, 0, 0, 2, 88],
            [2, 0, 0, 0, 5, 0],
        ),
        (
            Kind::TooBig { mtu: 0 },
            [3, 4, 0, 0, 0, 68],
            [2, 0, 0, 0, 5, 0],
        ),
        (
            Kind::HopLimitExceeded,
            [11, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 0],
        ),
        (
            Kind::ReassemblyTimeExceeded,
            [11, 1, 0, 0, 0, 0],
            [3, 1, 0, 0, 0, 0],
        ),
        (problem(0), [12, 0, 6, 0, 0, 0], [4, 0, 0, 0, 0, 6]),
        (problem(2), [12, 0, 6, 0, 0, 0], [4, 2, 0, 0, 0, 6]),
    ] {
        for (is_v6, expected) in [(false, v4), (true, v6)] {
            let packet = udp(is_v6, b"what happened to it?");
            let out = error(&mut new(EchoMode::Off), NOW, kind, &packet).expect("sent");
            assert_sums(&out);
            let at = if is_v6 { 40 } else { 20 };
            let fields = [&out[at..at + 2], &out[at + 4..at + 8]].concat();
            assert_eq!(fields, expected, "{kind:?}");
            assert_eq!(&out[at + 8..], packet);
        }
    }
}

#[test]
fn unknown_protocol_behind_extension_headers_is_pointed_at() {
    let packet = ipv6(60, &[&[99, 0, 1, 4, 0, 0, 0, 0][..], &[0; 8]].concat());
    let kind = Kind::ProtocolUnreachable;
    let out = error(&mut new(EchoMode::Off), NOW, kind, &packet).expect("sent");
    assert_eq!(out[40..48], [4, 1, out[42], out[43], 0, 0, 0, 40]);
}

#[test]
fn rfc_1812_and_4443_quotes_are_as_long_as_they_may_be() {
    for (is_v6, max) in [(false, 576), (true, 1280)] {
        let packet = udp(is_v6, &[5; 4000]);
        let out =
            error(&mut new(EchoMode::Off), NOW, Kind::PortUnreachable, &packet).expect("sent");
        assert_eq!(out.len(), max);
        assert_sums(&out);
        let head = if is_v6 { 48 } else { 28 };
        assert_eq!(out[head..], packet[..max - head]);
    }
}

#[test]
fn p9_the_gateway_speaks_about_the_way_and_the_destination_for_itself() {
    let mut without = Icmp::new(EchoMode::Off, GATEWAY4, None);
    for (kind, is_v6, from) in [
        (Kind::TooBig { mtu: 1280 }, false, IpAddr::V4(GATEWAY4)),
        (Kind::TooBig { mtu: 1280 }, true, IpAddr::V6(GATEWAY6)),
        (Kind::HopLimitExceeded, false, IpAddr::V4(GATEWAY4)),
        (Kind::PortUnreachable, false, IpAddr::V4(REMOTE4)),
        (Kind::PortUnreachable, true, IpAddr::V6(REMOTE6)),
    ] {
        let packet = udp(is_v6, b"x");
        let out = error(&mut new(EchoMode::Off), NOW, kind, &packet).expect("sent");
        assert_eq!(Header::parse(&out).expect("parsed").source, from);
    }
    let kind = Kind::TooBig { mtu: 1280 };
    let out = error(&mut without, NOW, kind, &udp(true, b"x")).expect("sent");
    assert_eq!(
        Header::parse(&out).expect("parsed").source,
        IpAddr::V6(REMOTE6)
    );
    let mut many = udp(true, b"x");
    many[24] = 0xff;
    assert_eq!(error(&mut without, NOW, kind, &many), Err(Drop::NoSource));
}

#[test]
fn rfc_1122_and_4443_no_error_about_errors_fragments_or_many() {
    let mut icmp = new(EchoMode::Off);
    let to_many = |is_v6: bool| {
        let mut packet = udp(is_v6, b"x");
        packet[if is_v6 { 24 } else { 16 }] = if is_v6 { 0xff } else { 224 };
        if is_v6 { packet } else { with_flags(packet, 0) }
    };
    let too_big = Kind::TooBig { mtu: 1300 };
    let problem = |code| Kind::ParameterProblem(Problem { code, pointer: 6 });
    let later6 = ipv6(44, &[&[17, 0, 0, 16, 0, 0, 0, 9][..], &[0; 8]].concat());
    for (what, kind, packet, ok) in [
        (
            "an error",
            Kind::NetUnreachable,
            message(false, 3, 1, &[0; 12]),
            false,
        ),
        (
            "an error",
            Kind::NetUnreachable,
            message(true, 1, 0, &[0; 12]),
            false,
        ),
        (
            "an unknown error",
            too_big,
            message(true, 99, 0, &[0; 12]),
            false,
        ),
        ("a redirect", too_big, message(false, 5, 0, &[0; 12]), false),
        (
            "a redirect",
            too_big,
            message(true, 137, 0, &[0; 12]),
            false,
        ),
        (
            "a question",
            Kind::NetUnreachable,
            echo(false, 1, b""),
            true,
        ),
        ("a question", Kind::NetUnreachable, echo(true, 1, b""), true),
        (
            "a later fragment",
            too_big,
            with_flags(udp(false, b"x"), 1),
            false,
        ),
        ("a later fragment", too_big, later6, false),
        (
            "a first fragment",
            too_big,
            with_flags(udp(false, &[0; 16]), 0x2000),
            true,
        ),
        ("many", Kind::PortUnreachable, to_many(false), false),
        ("many", too_big, to_many(false), false),
        ("many", Kind::PortUnreachable, to_many(true), false),
        ("many", problem(0), to_many(true), false),
        ("many, excepted", problem(2), to_many(true), true),
        ("many, excepted", too_big, to_many(true), true),
    ] {
        let result = error(&mut icmp, NOW, kind, &packet);
        let why = result.err();
        assert_eq!(why, (!ok).then_some(Drop::NotAllowed), "{what} {kind:?}");
    }
}

#[test]
fn p9_errors_are_limited_to_1000_a_second_in_bursts_of_50() {
    let mut icmp = new(EchoMode::Off);
    let packet = udp(false, b"x");
    let mut sent = |now, tries: usize| {
        let one = |_| error(&mut icmp, now, Kind::PortUnreachable, &packet).is_ok();
        (0..tries).map(one).filter(|sent| *sent).count()
    };
    let at = |millis| Instant::ZERO + Duration::from_millis(millis);
    assert_eq!(sent(at(10_000), 100), 50);
    assert_eq!(sent(at(10_000), 1), 0);
    assert_eq!(sent(at(10_001), 10), 1);
    let even: usize = (1..=1000).map(|n| sent(at(10_001 + n), 5)).sum();
    assert_eq!(even, 1000);
    assert_eq!(sent(at(60_000), 100), 50);
    assert_eq!(icmp.drops().of(Drop::RateLimited), 50 + 1 + 9 + 4000 + 50);
}

#[test]
fn p9_too_big_is_said_once_a_second_for_each_destination_and_mtu() {
    let mut icmp = new(EchoMode::Off);
    let packet = |host: u8| {
        let mut packet = udp(false, b"x");
        packet[19] = host;
        with_flags(packet, 0x4000)
    };
    let too_big = |mtu| Kind::TooBig { mtu };
    assert!(error(&mut icmp, NOW, too_big(1280), &packet(1)).is_ok());
    let again = error(&mut icmp, NOW, too_big(1280), &packet(1));
    assert_eq!(again, Err(Drop::TooBigRepeated));
    assert!(
        error(&mut icmp, NOW, too_big(1400), &packet(1)).is_ok(),
        "the MTU changed"
    );
    assert!(
        error(&mut icmp, NOW, too_big(1280), &packet(2)).is_ok(),
        "another destination"
    );
    let mut other = packet(1);
    other[15] += 1;
    let other = with_flags(other, 0x4000);
    assert!(
        error(&mut icmp, NOW, too_big(1280), &other).is_ok(),
        "another client"
    );
    let early = NOW + Duration::from_millis(999);
    assert!(error(&mut icmp, early, too_big(1280), &packet(1)).is_err());
    let later = NOW + Duration::from_secs(1);
    assert!(error(&mut icmp, later, too_big(1280), &packet(1)).is_ok());
}

#[test]
fn p16_the_memory_of_packets_too_big_is_bounded() {
    let mut limit = RateLimit::new();
    let mut now = NOW;
    let to = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
    let from = IpAddr::V4(CLIENT4);
    for n in 0..5000 {
        now += Duration::from_millis(1);
        limit
            .take(now, Some((from, to(n), 1280)))
            .expect("an even pace");
    }
    // Only the last are remembered, and a second is more than the memory holds.
    assert_eq!(
        limit.take(now, Some((from, to(4999), 1280))),
        Err(Drop::TooBigRepeated)
    );
    let last = 4999 - u32::try_from(TOO_BIG_RECENT_MAX).expect("fits");
    assert_eq!(
        limit.take(now, Some((from, to(last + 1), 1280))),
        Err(Drop::TooBigRepeated)
    );
    assert_eq!(limit.take(now, Some((from, to(last), 1280))), Ok(()));
}

#[test]
fn p11_a_refusal_has_a_word_for_the_client() {
    for (refusal, kind) in [
        (Refusal::ConnectionRefused, Some(Kind::PortUnreachable)),
        (Refusal::NetworkUnreachable, Some(Kind::NetUnreachable)),
        (Refusal::HostUnreachable, Some(Kind::HostUnreachable)),
        (Refusal::TimedOut, Some(Kind::HostUnreachable)),
        (Refusal::Policy, Some(Kind::AdminProhibited)),
        (Refusal::Dropped, None),
    ] {
        assert_eq!(Kind::of_refusal(refusal), kind);
    }
    let silent = Refusal::ALL
        .iter()
        .filter(|refusal| Kind::of_refusal(**refusal).is_none());
    assert_eq!(silent.count(), 1, "only who asked for silence gets it");
}
