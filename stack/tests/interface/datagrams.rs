//! UDP both ways, and how long a mapping lives.
use core::time::Duration;

use sansbox_stack::{
    Config, InterfaceConfig, InterfaceEvent, RxPacket, Verified,
    mtu::Carrier,
    nat::{self, Filtering, Why},
};

use crate::bench::{Bench, SECOND, address, read_udp, udp};

fn families() -> [(core::net::SocketAddr, core::net::SocketAddr); 2] {
    [
        (address("10.0.0.2:4000"), address("192.0.2.9:9000")),
        (address("[fd00::2]:4000"), address("[2001:db8::9]:9000")),
    ]
}

#[test]
fn a_datagram_goes_out_and_its_answer_comes_back() {
    for checksum_offload in [false, true] {
        for (client, remote) in families() {
            let mut bench = Bench::new(InterfaceConfig {
                stack: Config {
                    checksum_offload,
                    ..Config::default()
                },
                ..InterfaceConfig::default()
            });
            let mapping = bench.say(client, remote, b"question");
            assert_eq!(bench.events, [InterfaceEvent::Mapped(mapping, client)]);
            for data in [&b"answer"[..], b"", &[7; 1400], b"odd"] {
                let now = bench.now();
                assert!(bench.interface.send_datagram(now, mapping, remote, data));
                let sent = bench.sent();
                assert_eq!(sent.len(), 1);
                assert_eq!(read_udp(&sent[0]), (remote, client, data));
            }
            assert_eq!(bench.dropped_in_all(), 0);
            // The second datagram belongs to the same mapping.
            assert_eq!(bench.say(client, remote, b"more"), mapping);
            assert_eq!(bench.events.len(), 1);
        }
    }
}

#[test]
fn the_first_datagrams_of_a_batch_come_at_once_and_in_order() {
    let mut bench = Bench::new(InterfaceConfig::default());
    let (client, remote) = families()[0];
    let batch: Vec<Vec<u8>> = (0..10).map(|n| udp(client, remote, &[n])).collect();
    assert!(bench.turn(&batch).is_empty());
    let data: Vec<u8> = bench.got.iter().map(|got| got.data[0]).collect();
    assert_eq!(data, (0..10).collect::<Vec<_>>());
    assert_eq!(bench.events.len(), 1);
}

#[test]
fn anybody_may_answer_unless_filtering_depends_on_addresses() {
    let stranger = address("198.51.100.7:53");
    let (client, remote) = families()[0];
    for filtering in [Filtering::EndpointIndependent, Filtering::AddressDependent] {
        let mut bench = Bench::new(InterfaceConfig {
            nat: nat::Config {
                filtering,
                ..nat::Config::default()
            },
            ..InterfaceConfig::default()
        });
        let mapping = bench.say(client, remote, b"hello");
        let now = bench.now();
        let is_open = filtering == Filtering::EndpointIndependent;
        assert_eq!(
            bench.interface.send_datagram(now, mapping, stranger, b"x"),
            is_open
        );
        assert_eq!(bench.dropped("nat", "filtered"), u64::from(!is_open));
        // Another port of the address that was written to.
        let other = address("192.0.2.9:1");
        assert!(bench.interface.send_datagram(now, mapping, other, b"y"));
        let sent = bench.sent();
        assert_eq!(read_udp(sent.last().unwrap()), (other, client, &b"y"[..]));
    }
}

#[test]
fn a_mapping_ends_when_it_is_idle() {
    let (client, remote) = families()[0];
    let by_port = [(9000, 300), (443, 30), (123, 10), (53, 10)];
    for (port, seconds) in by_port {
        let mut bench = Bench::new(InterfaceConfig::default());
        let remote = core::net::SocketAddr::new(remote.ip(), port);
        let mapping = bench.say(client, remote, b"hello");
        bench.events.clear();
        bench.wait_until(seconds * SECOND);
        assert!(bench.events.is_empty(), "{port}");
        bench.wait_until(seconds * SECOND + 1);
        match bench.events[..] {
            [InterfaceEvent::Unmapped(closed)] => {
                assert_eq!((closed.id, closed.client), (mapping, client));
                assert_eq!(closed.why, Why::Idle);
            }
            _ => panic!("{:?}", bench.events),
        }
        let now = bench.now();
        assert!(!bench.interface.send_datagram(now, mapping, remote, b"late"));
        assert_eq!(bench.dropped("nat", "stale"), 1);
        assert_eq!(bench.interface.poll_timeout(), None);
    }
}

#[test]
fn a_configured_idle_time_overrides_those_of_protocols() {
    let mut bench = Bench::new(InterfaceConfig {
        nat: nat::Config {
            udp_timeout: Some(Duration::from_secs(77)),
            ..nat::Config::default()
        },
        ..InterfaceConfig::default()
    });
    let (client, dns) = (address("10.0.0.2:4000"), address("192.0.2.9:53"));
    let mapping = bench.say(client, dns, b"question");
    let now = bench.now();
    assert!(bench.interface.send_datagram(now, mapping, dns, b"answer"));
    bench.wait_until(77 * SECOND);
    assert_eq!(bench.interface.mappings(), 1);
    bench.wait_until(77 * SECOND + 1);
    assert_eq!(bench.interface.mappings(), 0);
}

#[test]
fn dns_ends_with_its_last_answer() {
    let mut bench = Bench::new(InterfaceConfig::default());
    let (client, dns) = (address("10.0.0.2:4000"), address("192.0.2.9:53"));
    let mapping = bench.say(client, dns, b"A?");
    bench.say(client, dns, b"AAAA?");
    bench.events.clear();
    let now = bench.now();
    assert!(bench.interface.send_datagram(now, mapping, dns, b"A"));
    assert!(bench.interface.poll_timeout().unwrap() > now);
    assert!(bench.interface.send_datagram(now, mapping, dns, b"AAAA"));
    assert_eq!(bench.interface.poll_timeout(), Some(now));
    bench.wait_until(bench.now);
    match bench.events[..] {
        [InterfaceEvent::Unmapped(closed)] => assert_eq!(closed.why, Why::Answered),
        _ => panic!("{:?}", bench.events),
    }
}

#[test]
fn too_many_mappings_cost_the_oldest() {
    let mut bench = Bench::new(InterfaceConfig {
        nat: nat::Config {
            sessions_max: 3,
            sessions_per_client_max: 2,
            ..nat::Config::default()
        },
        ..InterfaceConfig::default()
    });
    let remote = address("192.0.2.9:9000");
    let first = bench.say(address("10.0.0.2:1"), remote, b"");
    bench.say(address("10.0.0.2:2"), remote, b"");
    bench.events.clear();
    let third = bench.say(address("10.0.0.2:3"), remote, b"");
    match bench.events[..] {
        [
            InterfaceEvent::Unmapped(closed),
            InterfaceEvent::Mapped(new, _),
        ] => {
            assert_eq!((closed.id, closed.why), (first, Why::EvictedByClient));
            assert_eq!(new, third);
        }
        _ => panic!("{:?}", bench.events),
    }
    bench.say(address("10.0.0.3:1"), remote, b"");
    bench.events.clear();
    bench.say(address("10.0.0.4:1"), remote, b"");
    match bench.events[..] {
        [InterfaceEvent::Unmapped(closed), InterfaceEvent::Mapped(..)] => {
            assert_eq!(closed.why, Why::Evicted);
        }
        _ => panic!("{:?}", bench.events),
    }
    assert_eq!(bench.interface.mappings(), 3);
}

#[test]
fn a_mapping_that_was_given_up_says_nothing_more() {
    let mut bench = Bench::new(InterfaceConfig::default());
    let (client, remote) = families()[0];
    let mapping = bench.say(client, remote, b"hello");
    bench.events.clear();
    bench.interface.unmap(mapping);
    bench.wait_until(1000 * SECOND);
    assert!(bench.events.is_empty());
    assert_ne!(bench.say(client, remote, b"again"), mapping);
}

#[test]
fn events_that_nobody_polls_are_bounded() {
    let mut bench = Bench::new(InterfaceConfig {
        queue_max: 10,
        ..InterfaceConfig::default()
    });
    let remote = address("192.0.2.9:9000");
    let batch: Vec<Vec<u8>> = (1..100)
        .map(|port| udp(address(&format!("10.0.0.2:{port}")), remote, b"x"))
        .collect();
    bench.turn(&batch);
    assert_eq!((bench.got.len(), bench.events.len()), (9, 9));
    assert_eq!(bench.dropped("interface", "events_full"), 90);
    // Those that have a mapping go on, and timers wait for room.
    bench.wait_until(1000 * SECOND);
    assert_eq!(bench.events.len(), 18);
}

#[test]
fn a_device_that_segments_udp_hands_over_several_datagrams() {
    let mut bench = Bench::new(InterfaceConfig {
        carrier: Carrier::Datagrams,
        ..InterfaceConfig::default()
    });
    let (client, remote) = families()[0];
    let packet = udp(
        client,
        remote,
        &[[1; 1200], [2; 1200], [3; 1200]].concat()[..3000],
    );
    let joined = RxPacket {
        data: &packet,
        verified: Verified::Trusted,
        segment_size: 1200,
    };
    let mut got = Vec::new();
    let now = bench.now();
    bench.interface.recv_batch(now, &[joined], &mut |received| {
        got.push((received.data[0], received.data.len()));
    });
    bench.interface.retain(&[joined]);
    assert_eq!(got, [(1, 1200), (2, 1200), (3, 600)]);
    assert_eq!((bench.dropped_in_all(), bench.sent().len()), (0, 0));
}

#[test]
fn stun_and_dtls_are_known_on_any_port() {
    let stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42transaction!";
    let dtls = b"\x16\xfe\xff\x00\x00";
    let mut quic = *stun;
    quic[0] = 0xc0;
    for (data, seconds) in [(&stun[..], 120), (dtls, 120), (&quic, 300)] {
        let mut bench = Bench::new(InterfaceConfig::default());
        let (client, remote) = families()[1];
        bench.say(client, remote, data);
        bench.wait_until(seconds * SECOND);
        assert_eq!(bench.interface.mappings(), 1);
        bench.wait_until(seconds * SECOND + 1);
        assert_eq!(bench.interface.mappings(), 0);
    }
}
