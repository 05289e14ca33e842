//! What clients say and are answered: RFC 792, 4443, 5508, 5927.
use super::*;
use crate::ip::emit_udp;
use crate::testing::{
    CLIENT_PORT, CLIENT4, CLIENT6, REMOTE_PORT, REMOTE4, REMOTE6, assert_sums, echo, ip, ipv6, tcp,
    udp, with_flags,
};
use core::net::SocketAddr;
use proptest::prelude::*;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};

const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 11, 12, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const NOW: Instant = Instant::ZERO;

pub(super) fn new(mode: EchoMode) -> Icmp {
    Icmp::new(mode, GATEWAY4, Some(GATEWAY6))
}

fn handle(icmp: &mut Icmp, packet: &[u8]) -> (Result<Handled, Drop>, Vec<u8>) {
    let header = Header::parse(packet).expect("parsed");
    let mut out = BytesMut::new();
    let result = icmp.handle(NOW, packet, &header, &mut out);
    (result, out.to_vec())
}

pub(super) fn error(
    icmp: &mut Icmp,
    now: Instant,
    kind: Kind,
    packet: &[u8],
) -> Result<Vec<u8>, Drop> {
    let header = Header::parse(packet).expect("parsed");
    let mut out = BytesMut::new();
    let result = icmp.error(now, kind, packet, &header, &mut out);
    assert_eq!(result.unwrap_or(0), out.len());
    result.map(|_| out.to_vec())
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
pub(super) fn message(is_v6: bool, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
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
            sequence: 9,
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
                    sequence: 9,
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
