//! What the stack answers: RFC 792, 1122, 1191, 1812, 4443, 5508, 8201.
use super::*;
use crate::ip::{Problem, emit_udp};
use crate::testing::{
    CLIENT_PORT, CLIENT4, CLIENT6, REMOTE_PORT, REMOTE4, REMOTE6, assert_sums, echo, ip, ipv6, tcp,
    udp, with_flags,
};
use core::net::SocketAddr;
use core::time::Duration;
use proptest::prelude::*;
use sansbox_core::Refusal;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 11, 12, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const NOW: Instant = Instant::ZERO;

fn new(mode: EchoMode) -> Icmp {
    Icmp::new(mode, GATEWAY4, Some(GATEWAY6))
}

fn handle(icmp: &mut Icmp, packet: &[u8]) -> (Result<Handled, Drop>, Vec<u8>) {
    let header = Header::parse(packet).expect("parsed");
    let mut out = BytesMut::new();
    let result = icmp.handle(NOW, packet, &header, &mut out);
    (result, out.to_vec())
}

fn error(icmp: &mut Icmp, now: Instant, kind: Kind, packet: &[u8]) -> Result<Vec<u8>, Drop> {
    let header = Header::parse(packet).expect("parsed");
    let mut out = BytesMut::new();
    let result = icmp.error(now, kind, packet, &header, &mut out);
    assert_eq!(result.unwrap_or(0), out.len());
    result.map(|_| out.to_vec())
}

#[test]
fn every_reason_is_in_the_table() {
    let names: Vec<_> = Drop::ALL.iter().map(|reason| reason.name()).collect();
    crate::drops::assert_table_is_complete(include_str!("mod.rs"), &names);
}

#[test]
fn p8_echo_off_reply_relay_reject() {
    for is_v6 in [false, true] {
        let request = echo(is_v6, 77, b"how far?");
        let at = if is_v6 { 40 } else { 20 };

        let mut icmp = new(EchoMode::Off);
        assert_eq!(handle(&mut icmp, &request), (Err(Drop::EchoOff), vec![]));
        assert_eq!(icmp.drops().of(Drop::EchoOff), 1);

        icmp.set_echo(EchoMode::Reply);
        let (result, reply) = handle(&mut icmp, &request);
        assert_eq!(result, Ok(Handled::Answered(request.len())));
        assert_sums(&reply);
        let (asked, answered) = (
            Header::parse(&request),
            Header::parse(&reply).expect("parsed"),
        );
        let asked = asked.expect("parsed");
        assert_eq!(
            (asked.source, asked.destination),
            (answered.destination, answered.source)
        );
        assert_eq!(reply[at], if is_v6 { 129 } else { 0 });
        assert_eq!(reply[at + 4..], request[at + 4..]);

        icmp.set_echo(EchoMode::Relay);
        let (result, nothing) = handle(&mut icmp, &request);
        let Ok(Handled::Echo(Echo {
            identifier,
            sequence,
            data,
        })) = result
        else {
            panic!("not relayed");
        };
        assert_eq!(
            (identifier, sequence, &request[data]),
            (77, 1, &b"how far?"[..])
        );
        assert!(nothing.is_empty());

        icmp.set_echo(EchoMode::Reject);
        let (result, refusal) = handle(&mut icmp, &request);
        assert_eq!(result, Ok(Handled::Answered(refusal.len())));
        assert_eq!(refusal[at..at + 2], if is_v6 { [1, 1] } else { [3, 13] });
        assert!(refusal.ends_with(&request));
    }
}

#[test]
fn p8_relayed_reply_finds_its_way_back() {
    for (remote, client, protocol) in [
        (IpAddr::V4(REMOTE4), IpAddr::V4(CLIENT4), protocol::ICMP),
        (IpAddr::V6(REMOTE6), IpAddr::V6(CLIENT6), protocol::ICMPV6),
    ] {
        let mut out = BytesMut::new();
        let len = emit_echo_reply(remote, client, (7, 8), &[1; 5000], 9, &mut out);
        assert_eq!(len, Some(out.len()));
        assert_sums(&out);
        let header = Header::parse(&out).expect("parsed");
        assert_eq!((header.source, header.destination), (remote, client));
        assert_eq!(header.protocol, protocol);
        assert_eq!(echo_fields(header.payload(&out)), Some((7, 8)));
    }
    let mut out = BytesMut::new();
    let mixed = emit_echo_reply(REMOTE4.into(), CLIENT6.into(), (7, 8), &[], 9, &mut out);
    assert_eq!((mixed, out.len()), (None, 0));
}

/// A message of any type.
fn message(is_v6: bool, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[kind, code, 0, 0][..], body].concat();
    if is_v6 {
        Icmpv6Packet::new_unchecked(&mut bytes).fill_checksum(&CLIENT6, &REMOTE6);
        return ipv6(protocol::ICMPV6, &bytes);
    }
    Icmpv4Packet::new_unchecked(&mut bytes).fill_checksum();
    ip(false, protocol::ICMP, &bytes)
}

#[test]
fn what_a_client_may_say_and_what_is_passed_over() {
    let mut icmp = new(EchoMode::Reply);
    for (is_v6, kind, code, why) in [
        (false, 0, 0, Drop::Unsolicited),
        (true, 129, 0, Drop::Unsolicited),
        (false, 8, 1, Drop::Ignored),
        (false, 5, 0, Drop::Ignored),
        (false, 9, 0, Drop::Ignored),
        (false, 13, 0, Drop::Ignored),
        (true, 130, 0, Drop::Ignored),
        (true, 143, 0, Drop::Ignored),
        (true, 100, 0, Drop::Ignored),
        (true, 133, 0, Drop::NeighborDiscovery),
        (true, 135, 0, Drop::NeighborDiscovery),
        (true, 137, 0, Drop::NeighborDiscovery),
        (false, 3, 1, Drop::BadQuote),
        (true, 1, 1, Drop::BadQuote),
    ] {
        let packet = message(is_v6, kind, code, &[0; 4]);
        assert_eq!(
            handle(&mut icmp, &packet),
            (Err(why), vec![]),
            "{is_v6} {kind}"
        );
    }
    assert_eq!(icmp.drops().total(), 14, "each once");
    assert_eq!(
        handle(&mut icmp, &message(false, 8, 0, &[])).0,
        Err(Drop::Truncated)
    );
    for is_v6 in [false, true] {
        let mut spoilt = echo(is_v6, 1, b"data");
        let last = spoilt.len() - 1;
        spoilt[last] ^= 1;
        assert_eq!(handle(&mut icmp, &spoilt).0, Err(Drop::BadChecksum));
        // ICMP of the other family.
        let other = if is_v6 {
            protocol::ICMP
        } else {
            protocol::ICMPV6
        };
        assert_eq!(
            handle(&mut icmp, &ip(is_v6, other, &[0; 8])).0,
            Err(Drop::Ignored)
        );
    }
    let mut to_many = echo(false, 1, b"");
    to_many[16..20].fill(255);
    let to_many = with_flags(to_many, 0);
    assert_eq!(handle(&mut icmp, &to_many).0, Err(Drop::ToMany));
}

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

/// The client's stack looks for its socket by what is quoted.
#[test]
fn p11_an_error_without_the_packet_names_the_session() {
    for is_v6 in [false, true] {
        let header = Header::parse(&udp(is_v6, b"")).expect("parsed");
        let client = SocketAddr::new(header.source, CLIENT_PORT);
        let remote = SocketAddr::new(header.destination, REMOTE_PORT);
        let identifier = 7;
        let (client_ip, remote_ip) = (client.ip(), remote.ip());
        let echo = Subject::Echo {
            client: client_ip,
            remote: remote_ip,
            identifier,
        };
        for (subject, transport) in [
            (
                Subject::Udp { client, remote },
                Transport::Udp {
                    source: CLIENT_PORT,
                    destination: REMOTE_PORT,
                },
            ),
            (
                echo,
                Transport::Echo {
                    identifier,
                    sequence: 0,
                },
            ),
        ] {
            let mut out = BytesMut::from(&b"before"[..]);
            let mut icmp = new(EchoMode::Off);
            let len = icmp.error_for(NOW, Kind::HostUnreachable, subject, &mut out);
            assert_eq!(len, Ok(out.len() - 6));
            let packet = &out[6..];
            assert_sums(packet);
            let header = Header::parse(packet).expect("parsed");
            assert_eq!(header.destination, client.ip());
            let report = Report::parse(packet, &header).expect("an error");
            assert_eq!(report.quoted.transport, transport);
            assert_eq!(
                (report.quoted.source, report.quoted.destination),
                (client_ip, remote_ip)
            );
        }
    }
    let (client, remote) = (
        SocketAddr::new(CLIENT4.into(), 1),
        SocketAddr::new(REMOTE6.into(), 1),
    );
    let mixed = Subject::Udp { client, remote };
    let mut out = BytesMut::new();
    let result = new(EchoMode::Off).error_for(NOW, Kind::HostUnreachable, mixed, &mut out);
    assert_eq!((result, out.len()), (Err(Drop::NoSource), 0));
}

/// What a client says about a datagram that the stack gave it.
#[test]
fn p8_a_clients_error_finds_its_mapping() {
    for (client, remote) in [
        (
            SocketAddr::new(CLIENT4.into(), 4000),
            SocketAddr::new(REMOTE4.into(), 53),
        ),
        (
            SocketAddr::new(CLIENT6.into(), 4000),
            SocketAddr::new(REMOTE6.into(), 53),
        ),
    ] {
        let mut given = BytesMut::new();
        emit_udp(remote, client, 1, b"an answer nobody waits for", &mut given);
        // The client's stack makes the error: from the client to the remote.
        let kind = if client.is_ipv6() { (1, 4) } else { (3, 3) };
        let body = [&[0; 4][..], &given].concat();
        let packet = message(client.is_ipv6(), kind.0, kind.1, &body);
        let (result, _) = handle(&mut new(EchoMode::Off), &packet);
        let Ok(Handled::Report(report)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(report.session(), Some((client, remote)));
        assert_eq!(
            (report.kind, report.code, report.mtu()),
            (kind.0, kind.1, None)
        );
        // Nobody speaks for another client.
        let other = Report {
            reporter: remote.ip(),
            ..report
        };
        assert_eq!(other.session(), None);
    }
}

#[test]
fn rfc_5927_a_report_about_tcp_has_the_sequence_number() {
    let segment = tcp(false, 0xdead_beef, 0x10, &[], b"");
    let body = [&[0, 0, 5, 0][..], &segment[..28]].concat();
    let packet = message(false, 3, 4, &body);
    let (result, _) = handle(&mut new(EchoMode::Off), &packet);
    let Ok(Handled::Report(report)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(report.mtu(), Some(1280));
    let Transport::Tcp { sequence, .. } = report.quoted.transport else {
        panic!("not TCP");
    };
    assert_eq!(sequence, 0xdead_beef);
}

proptest! {
    #[test]
    fn p15_no_message_panics(is_v6: bool, kind: u8, code: u8, body in proptest::collection::vec(any::<u8>(), 0..150), v: bool) {
        let mut body = body;
        if v && body.len() > 4 {
            body[4] = if is_v6 { 0x60 } else { 0x45 };
        }
        let packet = message(is_v6, kind, code, &body);
        let header = Header::parse(&packet).expect("parsed");
        for mode in [EchoMode::Reply, EchoMode::Relay, EchoMode::Reject] {
            let (result, out) = handle(&mut new(mode), &packet);
            prop_assert_eq!(matches!(result, Ok(Handled::Answered(_))), !out.is_empty());
            if !out.is_empty() {
                assert_sums(&out);
            }
        }
        let client = SocketAddr::new(header.source, 9);
        let mut out = BytesMut::new();
        if translate(&packet, &header, client, &mut out).is_ok() {
            assert_sums(&out);
        }
    }
}
