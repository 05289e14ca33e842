//! Modes, refusals, limits and floods.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::manual_let_else,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_core::Refusal;
use sansbox_stack::{CancelReason, Config, DropReason, Event, FlowId, Handshake, Reject};
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, Ipv4Packet, Ipv6Packet, TcpPacket};
use support::raw::{Bench, Peer, at};

fn bench(handshake: Handshake) -> Bench {
    Bench::new(Config {
        handshake,
        ..Config::default()
    })
}

fn ask(bench: &mut Bench, peer: &Peer) -> FlowId {
    match bench.give(&[peer.syn()])[..] {
        [
            Event::Open {
                flow,
                answered: false,
                source,
                destination,
            },
        ] => {
            assert_eq!((source, destination), (peer.source, peer.destination));
            flow
        }
        ref events => panic!("{events:?}"),
    }
}

#[test]
fn fast_answers_in_the_batch_of_the_syn_and_opens_with_the_ack() {
    let mut bench = bench(Handshake::Fast);
    let mut peer = Peer::v4();
    let answer = peer.begin(&mut bench);
    assert_eq!(bench.events, []);
    assert_eq!(answer.ack, peer.seq);
    assert_eq!(answer.window, 65_535);
    // Of the device, not of the path behind.
    assert_eq!(answer.mss, Some(65_495));
    assert_eq!((answer.shift, answer.sack_ok), (Some(7), true));
    let events = bench.give(&[peer.segment("A", &[])]);
    assert!(matches!(events[..], [Event::Open { answered: true, .. }]));
}

#[test]
fn options_are_offered_only_to_who_offered_them() {
    let mut bench = Bench::new(Config {
        tun_mtu: 1500,
        ..Config::default()
    });
    let mut peer = Peer::new("[fd00::2]:4000", "[2001:db8::9]:443");
    (peer.shift, peer.sack) = (None, false);
    let answer = peer.begin(&mut bench);
    assert_eq!(
        (answer.mss, answer.shift, answer.sack_ok),
        (Some(1440), None, false)
    );
    bench.give(&[peer.segment("A", &[])]);
    bench.sent();
    let flow = match bench.events[..] {
        [Event::Open { flow, .. }] => flow,
        _ => panic!(),
    };
    // The window is not scaled, in both directions.
    bench.give(&[
        peer.segment("A", b"x"),
        peer.segment_at("A", peer.seq + 1, peer.ack, b"y"),
    ]);
    assert_eq!(bench.read(flow), b"xy");
    // Two bytes are no step worth telling.
    assert_eq!(bench.sent()[0].window, 65_533);
}

#[test]
fn consistent_waits_for_the_upstream() {
    let mut bench = bench(Handshake::Consistent);
    let mut peer = Peer::v4();
    let flow = ask(&mut bench, &peer);
    assert_eq!(bench.wait_until(3000), []);
    assert_eq!(bench.say(&[peer.syn()]), [], "a SYN again changes nothing");
    assert!(
        !bench.stack.sniff(at(3000), flow),
        "sniffing would break the promise"
    );
    assert!(bench.stack.write(flow, "early".into()).is_err());
    bench.stack.accept(at(3000), flow);
    let sent = bench.sent();
    assert_eq!(sent[0].flags, "SA");
    peer.ack = sent[0].seq.wrapping_add(1);
    assert_eq!(
        bench.give(&[peer.segment("A", &[])]),
        [Event::Writable(flow)]
    );
    assert!(bench.write(flow, b"banner"));
    assert_eq!(bench.sent()[0].payload, b"banner");
}

#[test]
fn auto_answers_early_for_routes_that_sniff() {
    let mut bench = bench(Handshake::Auto);
    let peer = Peer::v4();
    let flow = ask(&mut bench, &peer);
    assert_eq!(bench.sent(), []);
    assert!(bench.stack.sniff(at(1), flow));
    assert_eq!(bench.sent()[0].flags, "SA");
    let other = Peer::new("10.0.0.2:4001", "192.0.2.9:80");
    ask(&mut bench, &other);
    assert_eq!(bench.sent(), [], "others wait");
    bench.stack.set_handshake(Handshake::Fast);
    let third = Peer::new("10.0.0.2:4002", "192.0.2.9:80");
    assert_eq!(bench.say(&[third.syn()])[0].flags, "SA", "from now on");
}

#[test]
fn a_live_stack_changes_how_it_answers() {
    let mut bench = bench(Handshake::Consistent);
    let early = Peer::new("10.0.0.2:4000", "192.0.2.9:80");
    ask(&mut bench, &early);
    bench.stack.set_handshake(Handshake::Fast);
    // The one that began keeps its mode; the next one has the new mode.
    assert_eq!(bench.say(&[early.syn()]), []);
    let mut late = Peer::new("10.0.0.2:4001", "192.0.2.9:80");
    late.begin(&mut bench);
    let events = bench.give(&[late.segment("A", &[])]);
    assert!(matches!(events[..], [Event::Open { answered: true, .. }]));
    bench.stack.set_handshake(Handshake::Consistent);
    ask(&mut bench, &Peer::new("10.0.0.2:4002", "192.0.2.9:80"));
}

#[test]
fn shutdown_before_the_handshake_is_done_is_kept() {
    let mut bench = bench(Handshake::Consistent);
    let mut peer = Peer::v4();
    let flow = ask(&mut bench, &peer);
    bench.stack.accept(at(1), flow);
    bench.stack.shutdown(at(1), flow);
    peer.ack = bench.sent()[0].seq.wrapping_add(1);
    assert_eq!(bench.say(&[peer.segment("A", &[])])[0].flags, "FA");
}

#[test]
fn an_abort_of_the_client_cancels_the_dial() {
    for (seq, taken) in [(999, true), (1000, true), (1001, false), (5, false)] {
        let mut bench = bench(Handshake::Consistent);
        let peer = Peer::v4();
        let flow = ask(&mut bench, &peer);
        let events = bench.give(&[peer.segment_at("R", seq, 0, &[])]);
        let expected = [Event::Cancelled(flow, CancelReason::Peer)];
        assert_eq!(events == expected, taken, "{seq}: {events:?}");
        assert_eq!(bench.stack.half_open_flows(), u32::from(!taken));
        // What comes too late for a dial that was called off does nothing.
        if taken {
            bench.stack.accept(at(1), flow);
            bench.stack.reject(flow, Reject::Refused);
            assert_eq!(bench.sent(), []);
        }
    }
}

#[test]
fn a_cancel_that_nobody_was_asked_about_is_silent() {
    let mut bench = bench(Handshake::Consistent);
    let peer = Peer::v4();
    let events = bench.give(&[peer.syn(), peer.segment_at("R", 1000, 0, &[])]);
    assert_eq!(events, []);
    assert_eq!(bench.stack.half_open_flows(), 0);
}

#[test]
fn a_dial_has_a_deadline() {
    let mut bench = bench(Handshake::Consistent);
    let flow = ask(&mut bench, &Peer::v4());
    bench.wait_until(9_990);
    assert_eq!(bench.events.len(), 1);
    bench.wait_until(10_002);
    let expected = Event::Cancelled(flow, CancelReason::DialDeadline);
    assert_eq!(bench.events[1..], [expected]);
}

#[test]
fn an_accepted_client_that_never_answers_is_called_off() {
    let mut bench = bench(Handshake::Consistent);
    let flow = ask(&mut bench, &Peer::v4());
    bench.stack.accept(at(1), flow);
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.wait_until(20_000).len(), 3);
    let expected = Event::Cancelled(flow, CancelReason::HandshakeTimeout);
    assert_eq!(bench.events[1..], [expected]);
    assert_eq!(bench.stack.half_open_flows(), 0);
}

/// ICMP type and code, or (0, 0) for RST; `None`: nothing.
type Said = Option<(u8, u8)>;

/// What is said on IPv4 and on IPv6.
const REFUSALS: &[(Reject, Said, Said)] = &[
    (Reject::Refused, Some((0, 0)), Some((0, 0))),
    (Reject::PolicyReset, Some((0, 0)), Some((0, 0))),
    (Reject::HostUnreachable, Some((3, 1)), Some((1, 3))),
    (Reject::NoRoute, Some((3, 0)), Some((1, 0))),
    (Reject::Policy, Some((3, 13)), Some((1, 1))),
    (Reject::Silent, None, None),
];

#[test]
fn refusals_map_to_rst_or_icmp_that_quotes_the_syn() {
    let v6 = Peer::new("[fd00::2]:4000", "[2001:db8::9]:443");
    for (reject, on_v4, on_v6) in REFUSALS {
        for (peer, expected) in [(Peer::v4(), on_v4), (v6.clone(), on_v6)] {
            let mut bench = bench(Handshake::Consistent);
            let flow = ask(&mut bench, &peer);
            bench.stack.reject(flow, *reject);
            assert_eq!(bench.stack.counters().refused, 1);
            assert_eq!(bench.stack.half_open_flows(), 0);
            match expected {
                None => assert_eq!(bench.packets().len(), 0),
                Some((0, 0)) => {
                    let sent = bench.sent();
                    assert_eq!(sent.len(), 1);
                    let seen = (sent[0].flags.as_str(), sent[0].seq, sent[0].ack);
                    assert_eq!(seen, ("RA", 0, peer.seq));
                }
                Some(expected) => {
                    let packets = bench.packets();
                    assert_eq!(packets.len(), 1);
                    let mut bytes = Vec::new();
                    packets[0].copy_to(&mut bytes);
                    assert_eq!(icmp(&bytes, &peer), *expected, "{reject:?}");
                }
            }
        }
    }
}

/// Type and code of an ICMP error, after checking its sums, its ends and its quote.
fn icmp(bytes: &[u8], peer: &Peer) -> (u8, u8) {
    let (kind, quote) = if bytes[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(bytes).unwrap();
        assert!(ip.verify_checksum());
        assert_eq!(ip.src_addr(), peer.destination.ip());
        assert_eq!(ip.dst_addr(), peer.source.ip());
        let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum());
        let quoted = Ipv4Packet::new_checked(icmp.data()).unwrap();
        assert!(quoted.verify_checksum());
        assert_eq!(quoted.src_addr(), peer.source.ip());
        assert_eq!(quoted.dst_addr(), peer.destination.ip());
        let kind = (icmp.msg_type().into(), icmp.msg_code());
        (kind, quoted.payload().to_vec())
    } else {
        let ip = Ipv6Packet::new_checked(bytes).unwrap();
        assert_eq!(ip.src_addr(), peer.destination.ip());
        assert_eq!(ip.dst_addr(), peer.source.ip());
        let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
        assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
        let quoted = Ipv6Packet::new_checked(icmp.payload()).unwrap();
        assert_eq!(quoted.src_addr(), peer.source.ip());
        assert_eq!(quoted.dst_addr(), peer.destination.ip());
        let kind = (icmp.msg_type().into(), icmp.msg_code());
        (kind, quoted.payload().to_vec())
    };
    let tcp = TcpPacket::new_checked(&quote[..]).unwrap();
    assert!(tcp.syn() && !tcp.ack());
    assert_eq!(tcp.src_port(), peer.source.port());
    assert_eq!(tcp.dst_port(), peer.destination.port());
    assert_eq!(tcp.seq_number().0.cast_unsigned(), peer.seq.wrapping_sub(1));
    let ends = (peer.source.ip().into(), peer.destination.ip().into());
    assert!(tcp.verify_checksum(&ends.0, &ends.1));
    kind
}

#[test]
fn failed_dials_are_told_as_what_they_were() {
    for (refusal, expected) in [
        (Refusal::ConnectionRefused, Reject::Refused),
        (Refusal::HostUnreachable, Reject::HostUnreachable),
        (Refusal::TimedOut, Reject::HostUnreachable),
        (Refusal::NameNotFound, Reject::HostUnreachable),
        (Refusal::NetworkUnreachable, Reject::NoRoute),
        (Refusal::Policy, Reject::Policy),
        (Refusal::Dropped, Reject::Silent),
        (Refusal::UpstreamAuth, Reject::Refused),
        (Refusal::General, Reject::Refused),
    ] {
        assert_eq!(Reject::from(refusal), expected, "{refusal:?}");
    }
}

fn attacker(n: u32) -> Peer {
    let [_, a, b, c] = n.to_be_bytes();
    Peer::new(
        &format!("10.{a}.{b}.{c}:{}", 1024 + n % 50_000),
        "192.0.2.9:80",
    )
}

#[test]
fn a_flood_of_syns_is_bounded_and_lets_others_in() {
    let mut bench = Bench::new(Config {
        half_open_max: 100,
        ..Config::default()
    });
    for n in 1..5000 {
        bench.say(&[attacker(n).syn()]);
        assert!(bench.stack.half_open_flows() <= 100);
    }
    assert_eq!(bench.stack.counters().evicted, 4899);
    assert_eq!(bench.events, [], "nobody is asked to dial");
    // The youngest are still there: a client that answers at once gets through.
    let mut honest = Peer::v4();
    honest.connect(&mut bench);
    assert_eq!(bench.stack.open_flows(), 1);
    // And all of them go by themselves.
    bench.wait_until(30_000);
    assert_eq!(bench.stack.half_open_flows(), 0);
}

#[test]
fn with_dials_on_their_way_a_flood_is_dropped_and_not_refused() {
    let mut bench = Bench::new(Config {
        handshake: Handshake::Consistent,
        half_open_max: 100,
        ..Config::default()
    });
    let first = attacker(1);
    bench.give(&[first.syn()]);
    for n in 2..500 {
        assert_eq!(bench.say(&[attacker(n).syn()]), []);
    }
    assert_eq!(bench.stack.half_open_flows(), 100);
    assert_eq!(bench.stack.counters().drops(DropReason::HalfOpenFull), 399);
    assert_eq!(bench.events.len(), 100);
}

#[test]
fn one_source_does_not_take_all_places() {
    let mut bench = Bench::new(Config {
        half_open_per_source: 10,
        ..Config::default()
    });
    for port in 0..50 {
        bench.say(&[Peer::new(&format!("10.0.0.2:{}", 4000 + port), "192.0.2.9:80").syn()]);
    }
    assert_eq!(bench.stack.half_open_flows(), 10);
    assert_eq!(bench.stack.counters().drops(DropReason::SourceFull), 40);
    assert_eq!(
        bench
            .say(&[Peer::new("10.0.0.3:4000", "192.0.2.9:80").syn()])
            .len(),
        1
    );
    // Places come back when a handshake is done.
    let mut bench = Bench::new(Config {
        half_open_per_source: 1,
        ..Config::default()
    });
    for port in 0..20 {
        Peer::new(&format!("10.0.0.2:{}", 4000 + port), "192.0.2.9:80").connect(&mut bench);
    }
    assert_eq!(bench.stack.open_flows(), 20);
}

#[test]
fn connections_have_a_limit() {
    let mut bench = Bench::new(Config {
        flows_max: 3,
        ..Config::default()
    });
    for port in 0..3 {
        Peer::new(&format!("10.0.0.2:{}", 4000 + port), "192.0.2.9:80").connect(&mut bench);
    }
    assert_eq!(
        bench.say(&[Peer::new("10.0.0.9:1", "192.0.2.9:80").syn()]),
        []
    );
    assert_eq!(bench.stack.counters().drops(DropReason::FlowsFull), 1);
}

#[test]
fn a_flood_of_stray_segments_is_bounded() {
    let mut bench = Bench::new(Config::default());
    let packets: Vec<Vec<u8>> = (1..1000).map(|n| attacker(n).segment("A", &[])).collect();
    assert_eq!(bench.say(&packets).len(), 256);
    assert_eq!(
        bench.stack.counters().drops(DropReason::ControlFull),
        999 - 256
    );
    assert_eq!(bench.stack.counters().drops(DropReason::NoFlow), 999);
}

#[test]
fn time_wait_is_bounded_and_forgets_the_oldest() {
    let mut bench = Bench::new(Config {
        time_wait_max: 10,
        ..Config::default()
    });
    for port in 0..30 {
        let mut peer = Peer::new(&format!("10.0.0.2:{}", 4000 + port), "192.0.2.9:80");
        let flow = peer.connect(&mut bench);
        bench.stack.shutdown(at(1), flow);
        peer.ack = bench.sent()[0].seq.wrapping_add(1);
        bench.say(&[peer.segment("FA", &[])]);
    }
    // An old one is no longer known, a young one is.
    let known = |port: u16, bench: &mut Bench| {
        let peer = Peer::new(&format!("10.0.0.2:{port}"), "192.0.2.9:80");
        bench.say(&[peer.segment("FA", &[])])[0].flags.clone()
    };
    assert_eq!(known(4000, &mut bench), "R");
    assert_eq!(known(4029, &mut bench), "A");
}

#[test]
fn initial_numbers_differ_by_flow_and_by_stack_and_grow_with_time() {
    let isn = |bench: &mut Bench, port: u16| {
        let mut peer = Peer::new(&format!("10.0.0.2:{port}"), "192.0.2.9:80");
        let isn = peer.begin(bench).seq;
        bench.give(&[peer.segment("R", &[])]);
        isn
    };
    let mut bench = bench(Handshake::Fast);
    let (a, b) = (isn(&mut bench, 4000), isn(&mut bench, 4001));
    assert_ne!(a, b);
    bench.now += 1000;
    assert_eq!(isn(&mut bench, 4000).wrapping_sub(a), 250_000);
    let mut other = Bench::new(Config::default());
    other.stack = sansbox_stack::Stack::new(Config::default(), sansbox_core::Seed::from_u64(8));
    assert_ne!(isn(&mut other, 4000), a);
}
