//! ICMP errors, to clients and from them, and how many.
use sansbox_stack::{
    InterfaceConfig, InterfaceEvent,
    icmp::Kind,
    interface::{Refused, UdpError},
    mtu::{BadMtu, Carrier},
};

use crate::bench::{Bench, SECOND, address, changed, icmp, ip, read_icmp, udp};

fn direct(carrier: Carrier, egress_mtu: u16) -> Bench {
    Bench::new(InterfaceConfig {
        carrier,
        egress_mtu,
        ..InterfaceConfig::default()
    })
}

fn with_df(packet: Vec<u8>) -> Vec<u8> {
    changed(packet, |packet| packet[6] = 0x40)
}

#[test]
fn fragmentation_needed_and_packet_too_big_are_exact() {
    let mut bench = direct(Carrier::Datagrams, 1420);
    let packet = with_df(udp(
        address("10.0.0.2:4000"),
        address("192.0.2.9:9000"),
        &[5; 1500],
    ));
    let sent = bench.turn(core::slice::from_ref(&packet));
    // The gateway says so; 576 bytes in all.
    let mut message = vec![3, 4, 0, 0, 0, 0, 0x05, 0x8c];
    message.extend_from_slice(&packet[..548]);
    assert_eq!(sent, [icmp("10.11.12.1", "10.0.0.2", message)]);
    assert_eq!(bench.dropped("mtu", "dont_fragment"), 1);

    let packet = udp(
        address("[fd00::2]:4000"),
        address("[2001:db8::9]:9000"),
        &[5; 1500],
    );
    let sent = bench.turn(core::slice::from_ref(&packet));
    let mut message = vec![2, 0, 0, 0, 0, 0, 0x05, 0x8c];
    message.extend_from_slice(&packet[..1232]);
    assert_eq!(sent, [icmp("2001:db8::9", "fd00::2", message)]);
    assert_eq!(bench.dropped("mtu", "packet_too_big"), 1);
    assert!(bench.got.is_empty() && bench.events.is_empty());
}

#[test]
fn the_device_never_hears_from_its_own_address() {
    // Linux takes nothing from an address of its own that comes out of a device.
    let mut bench = direct(Carrier::Datagrams, 1420);
    let packet = with_df(udp(
        address("10.11.12.1:4000"),
        address("192.0.2.9:9000"),
        &[5; 1500],
    ));
    let sent = bench.turn(&[packet]);
    let (from, _, kind, _) = read_icmp(&sent[0]);
    assert_eq!((from.to_string(), kind), ("192.0.2.9".into(), (3, 4)));
}

#[test]
fn what_a_carrier_can_carry_is_carried() {
    let (client, remote) = (address("10.0.0.2:4000"), address("192.0.2.9:9000"));
    let long = udp(client, remote, &[5; 30_000]);
    for carrier in [Carrier::Stream, Carrier::Fragmenting, Carrier::Packets] {
        let mut bench = direct(carrier, 1280);
        assert!(bench.turn(core::slice::from_ref(&long)).is_empty());
        assert_eq!((bench.got.len(), bench.dropped_in_all()), (1, 0));
    }
    // One for one: without DF the sender is told as well, because nobody cuts it.
    let mut bench = direct(Carrier::Datagrams, 1280);
    assert_eq!(bench.turn(core::slice::from_ref(&long)).len(), 1);
    assert_eq!(bench.dropped("mtu", "no_fragments"), 1);
    bench.interface.set_carrier(Carrier::Stream);
    bench.turn(&[long]);
    assert_eq!(bench.got.len(), 1);
    // Longer than any datagram of IPv4: of IPv6 it could come.
    let packet = udp(
        address("[fd00::2]:1"),
        address("[2001:db8::9]:2"),
        &vec![1; 65_508],
    );
    let mut bench = direct(Carrier::Stream, 1280);
    assert_eq!(bench.turn(&[packet]).len(), 1);
    assert_eq!(bench.dropped("mtu", "too_long"), 1);
}

#[test]
fn the_egress_mtu_changes_at_run_time() {
    let mut bench = direct(Carrier::Datagrams, 1280);
    let (client, remote) = (address("10.0.0.2:4000"), address("192.0.2.9:9000"));
    let packet = udp(client, remote, &[5; 1300]);
    assert_eq!(bench.turn(core::slice::from_ref(&packet)).len(), 1);
    bench.interface.set_egress_mtu(1420).unwrap();
    assert!(bench.turn(&[packet]).is_empty());
    assert_eq!(bench.got.len(), 1);
    let bad = bench.interface.set_egress_mtu(500);
    assert!(matches!(bad, Err(BadMtu::Egress { .. })));
    assert_eq!(bench.interface.budget().egress_mtu(), 1420);
}

#[test]
fn an_upstream_error_reaches_the_socket_that_caused_it() {
    for (client, remote) in [
        ("10.0.0.2:4000", "192.0.2.9:9000"),
        ("[fd00::2]:4000", "[2001:db8::9]:9000"),
    ] {
        let (client, remote) = (address(client), address(remote));
        let is_v4 = client.is_ipv4();
        for (kind, v4, v6) in [
            (Kind::PortUnreachable, (3, 3), (1, 4)),
            (Kind::HostUnreachable, (3, 1), (1, 3)),
            (Kind::NetUnreachable, (3, 0), (1, 0)),
            (Kind::AdminProhibited, (3, 13), (1, 1)),
            (Kind::TooBig { mtu: 1400 }, (3, 4), (2, 0)),
        ] {
            let mut bench = direct(Carrier::Fragmenting, 1280);
            let mapping = bench.say(client, remote, b"x");
            let now = bench.now();
            let error = UdpError {
                remote,
                kind,
                reporter: None,
            };
            assert!(bench.interface.udp_error(now, mapping, &error));
            let sent = bench.sent();
            let (_, to, seen, rest) = read_icmp(&sent[0]);
            assert_eq!((to, seen), (client.ip(), if is_v4 { v4 } else { v6 }));
            // The quoted packet is the client's own, as far as sockets are found by it.
            assert_eq!(&rest[4..], udp(client, remote, b""));
            // The mapping goes on (RFC 4787 REQ-12).
            assert!(bench.interface.send_datagram(now, mapping, remote, b"y"));
            bench.interface.unmap(mapping);
            assert!(!bench.interface.udp_error(now, mapping, &error));
            assert_eq!(bench.dropped("interface", "no_session"), 1);
        }
    }
}

#[test]
fn who_reports_an_upstream_error_stays_who_it_is() {
    for (client, remote, router, other) in [
        (
            "10.0.0.2:4000",
            "192.0.2.9:9000",
            "203.0.113.1",
            "[2001:db8::9]:9000",
        ),
        (
            "[fd00::2]:4000",
            "[2001:db8::9]:9000",
            "2001:db8::1",
            "192.0.2.9:9000",
        ),
    ] {
        let (client, remote) = (address(client), address(remote));
        let mut bench = direct(Carrier::Fragmenting, 1280);
        let mapping = bench.say(client, remote, b"x");
        let now = bench.now();
        let router = router.parse().unwrap();
        let kind = Kind::HostUnreachable;
        // The client itself, and nobody, are nobody who could say so.
        let unknown = if client.is_ipv4() { "0.0.0.0" } else { "::" };
        for (reporter, from) in [
            (Some(router), router),
            (None, remote.ip()),
            (Some(client.ip()), remote.ip()),
            (Some(unknown.parse().unwrap()), remote.ip()),
        ] {
            let error = UdpError {
                remote,
                kind,
                reporter,
            };
            assert!(bench.interface.udp_error(now, mapping, &error));
            assert_eq!(read_icmp(&bench.sent()[0]).0, from);
        }
        // A target of the other family is none of this client's.
        let error = UdpError {
            remote: address(other),
            kind,
            reporter: None,
        };
        assert!(!bench.interface.udp_error(now, mapping, &error));
        assert_eq!(bench.dropped("interface", "wrong_family"), 1);
    }
}

#[test]
fn a_client_that_refuses_a_datagram_is_an_event_and_ends_nothing() {
    let (client, remote) = (address("10.0.0.2:4000"), address("192.0.2.9:9000"));
    let mut bench = direct(Carrier::Fragmenting, 1280);
    let mapping = bench.say(client, remote, b"question");
    let now = bench.now();
    bench
        .interface
        .send_datagram(now, mapping, remote, b"answer");
    let answer = bench.sent().remove(0);
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&answer);
    bench.events.clear();
    assert!(
        bench
            .turn(&[icmp("10.0.0.2", "192.0.2.9", message.clone())])
            .is_empty()
    );
    let refused = Refused {
        remote,
        kind: 3,
        code: 3,
    };
    assert_eq!(bench.events, [InterfaceEvent::Refused(mapping, refused)]);
    assert_eq!(bench.interface.mappings(), 1);
    // Of somebody else, or about nothing: counted.
    assert!(
        bench
            .turn(&[icmp("10.0.0.3", "192.0.2.9", message)])
            .is_empty()
    );
    assert_eq!(bench.dropped("interface", "no_session"), 1);
    assert_eq!(bench.events.len(), 1);
}

#[test]
fn errors_are_limited_and_too_big_is_said_once_a_second() {
    let mut bench = direct(Carrier::Datagrams, 1280);
    let client = address("10.0.0.2:4000");
    let to = |n: usize| address(&format!("192.0.2.{n}:9000"));
    let one = with_df(udp(client, to(1), &[0; 2000]));
    assert_eq!(bench.turn(&vec![one.clone(); 5]).len(), 1);
    assert_eq!(bench.dropped("icmp", "too_big_repeated"), 4);
    bench.now += SECOND;
    assert_eq!(bench.turn(&[one]).len(), 1);
    let others: Vec<_> = (2..202)
        .map(|n| with_df(udp(client, to(n), &[0; 2000])))
        .collect();
    bench.now += SECOND;
    assert_eq!(bench.turn(&others).len(), 50);
    assert_eq!(bench.dropped("icmp", "rate_limited"), 150);
}

#[test]
fn other_protocols_are_told_and_counted() {
    let mut bench = direct(Carrier::Fragmenting, 1280);
    let (v4, v6) = (
        ip(
            "10.0.0.2".parse().unwrap(),
            "192.0.2.9".parse().unwrap(),
            132,
            b"SCTP",
        ),
        ip(
            "fd00::2".parse().unwrap(),
            "2001:db8::9".parse().unwrap(),
            132,
            b"SCTP",
        ),
    );
    let sent = bench.turn(&[v4, v6]);
    assert_eq!(read_icmp(&sent[0]).2, (3, 2));
    let (_, _, kind, rest) = read_icmp(&sent[1]);
    assert_eq!((kind, &rest[..4]), ((4, 1), &[0, 0, 0, 6][..]));
    assert_eq!(bench.dropped("interface", "other_protocol"), 2);
}

#[test]
fn what_the_rfcs_want_pointed_at_is_pointed_at() {
    let mut bench = direct(Carrier::Fragmenting, 1280);
    // An option of IPv4 that is longer than the header.
    let mut bad = udp(address("10.0.0.2:1"), address("192.0.2.9:2"), b"x");
    bad.splice(20..20, [148, 9, 0, 0]);
    let bad = changed(bad, |packet| {
        packet[0] = 0x46;
        packet[3] += 4;
    });
    let sent = bench.turn(core::slice::from_ref(&bad));
    let (from, _, kind, rest) = read_icmp(&sent[0]);
    assert_eq!((kind, rest[0]), ((12, 0), 20));
    assert_eq!(from.to_string(), "192.0.2.9");
    assert_eq!(&rest[4..], bad);
    assert_eq!(bench.dropped("ip", "bad_option"), 1);
    // A later fragment with the same fault is not answered.
    let later = changed(bad, |packet| packet[7] = 1);
    assert!(bench.turn(&[later]).is_empty());
    assert_eq!(bench.dropped("ip", "bad_option"), 2);
    // IPv6: an option that asks to be refused, and a route that goes on.
    for (next, header, code, pointer) in [
        (60, [17, 0, 0x80, 4, 0, 0, 0, 0], 2, 42),
        (43, [17, 0, 0, 1, 0, 0, 0, 0], 0, 42),
    ] {
        let mut packet = udp(address("[fd00::2]:1"), address("[2001:db8::9]:2"), b"x");
        packet.splice(40..40, header);
        packet[5] += 8;
        packet[6] = next;
        let sent = bench.turn(&[packet]);
        let (_, _, kind, rest) = read_icmp(&sent[0]);
        assert_eq!((kind, &rest[..4]), ((4, code), &[0, 0, 0, pointer][..]));
    }
}

#[test]
fn what_is_for_the_link_alone_is_counted() {
    let mut bench = direct(Carrier::Fragmenting, 1280);
    let mdns = udp(address("10.0.0.2:5353"), address("224.0.0.251:5353"), b"?");
    let dhcp = udp(address("10.0.0.2:68"), address("255.255.255.255:67"), b"?");
    let mdns6 = udp(address("[fd00::2]:5353"), address("[ff02::fb]:5353"), b"?");
    assert!(bench.turn(&[mdns, dhcp, mdns6]).is_empty());
    assert_eq!(bench.dropped("interface", "to_many"), 3);
    let message = |kind: u8| icmp("fe80::1", "ff02::2", vec![kind, 0, 0, 0, 0, 0, 0, 0]);
    // Router solicitation, neighbour solicitation, multicast listener report.
    assert!(
        bench
            .turn(&[message(133), message(135), message(143)])
            .is_empty()
    );
    assert_eq!(bench.dropped("icmp", "neighbor_discovery"), 2);
    assert_eq!(bench.dropped("icmp", "ignored"), 1);
    let zero = udp(address("10.0.0.2:0"), address("192.0.2.9:9"), b"?");
    assert!(bench.turn(&[zero]).is_empty());
    assert_eq!(bench.dropped("interface", "port_zero"), 1);
    let last_hop = changed(
        udp(address("10.0.0.2:1"), address("192.0.2.9:9"), b"?"),
        |packet| packet[8] = 1,
    );
    assert_eq!(read_icmp(&bench.turn(&[last_hop])[0]).2, (11, 0));
    assert!(bench.got.is_empty());
}
