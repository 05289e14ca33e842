//! RFC 4787 and RFC 5508 requirement by requirement, and limits.
use super::*;
use core::net::SocketAddr;
use core::time::Duration;
use sansbox_core::Instant;

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

pub(super) fn client(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 11, 12, host], port))
}

fn send(table: &mut Table, now: Instant, from: SocketAddr, to: &str) -> Outbound {
    let to = addr(to);
    let class = Class::of_port(to.port());
    table.outbound(now, from, to, class).expect("room")
}

pub(super) fn expired(table: &mut Table, now: Instant) -> Vec<(SocketAddr, Why)> {
    let all = core::iter::from_fn(|| table.expire(now));
    all.map(|closed| (closed.client, closed.why)).collect()
}

#[test]
fn rfc_4787_req_1_mapping_is_endpoint_independent() {
    let mut table = Table::new(Config::default());
    let first = send(&mut table, at(0), client(2, 4000), "192.0.2.1:1000");
    assert!(first.is_new && first.evicted.is_none());
    for to in ["192.0.2.1:1001", "192.0.2.2:1000", "[2001:db8::1]:9"] {
        let again = send(&mut table, at(0), client(2, 4000), to);
        assert_eq!((again.id, again.is_new), (first.id, false), "{to}");
    }
    for other in [client(2, 4001), client(3, 4000), addr("[fd00::2]:4000")] {
        assert_ne!(
            send(&mut table, at(0), other, "192.0.2.1:1000").id,
            first.id
        );
    }
    assert_eq!((table.len(), table.len_of(client(2, 0).ip())), (4, 2));
    assert_eq!(table.find(client(2, 4000)), Some(first.id));
    assert_eq!(table.find(client(2, 4002)), None);
}

#[test]
fn rfc_4787_req_8_filtering() {
    let known = addr("192.0.2.1:1000");
    for (filtering, other_port, other_host) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
    ] {
        let mut table = Table::new(Config {
            filtering,
            ..Config::default()
        });
        let id = send(&mut table, at(0), client(2, 4000), "192.0.2.1:1000").id;
        let got = table.inbound(at(1), id, known).expect("an answer");
        assert_eq!(
            got,
            Inbound {
                client: client(2, 4000),
                is_last: false
            }
        );
        assert_eq!(
            table.inbound(at(1), id, addr("192.0.2.1:7")).is_ok(),
            other_port
        );
        let stranger = table.inbound(at(1), id, addr("192.0.2.9:1000"));
        assert_eq!(stranger.is_ok(), other_host);
        assert_eq!(table.drops().of(Drop::Filtered), u64::from(!other_host));
    }
}

#[test]
fn addresses_that_may_answer_are_bounded() {
    let filtering = Filtering::AddressDependent;
    let mut table = Table::new(Config {
        filtering,
        ..Config::default()
    });
    let from = client(2, 4000);
    let to = |n: usize| SocketAddr::from(([192, 0, 2, u8::try_from(n).expect("fits")], 1));
    let mut id = None;
    for n in 0..PEERS_MAX {
        id = Some(
            table
                .outbound(at(0), from, to(n), Class::Udp)
                .expect("room")
                .id,
        );
    }
    let id = id.expect("a mapping");
    // The first is written to again, so the second is the one to be forgotten.
    table
        .outbound(at(0), from, to(0), Class::Udp)
        .expect("room");
    table
        .outbound(at(0), from, to(PEERS_MAX), Class::Udp)
        .expect("room");
    assert!(table.inbound(at(0), id, to(0)).is_ok());
    assert_eq!(table.inbound(at(0), id, to(1)), Err(Drop::Filtered));
    assert!(table.inbound(at(0), id, to(2)).is_ok());
}

#[test]
fn rfc_4787_req_5_idle_times() {
    for (port, idle) in [(1000, 300), (53, 10), (123, 10), (443, 30), (3478, 120)] {
        let class = Class::of_port(port);
        assert_eq!(class.idle(None), Duration::from_secs(idle), "{port}");
        // Less than two minutes only for well-known ports.
        assert!(idle >= 120 || port < 1024);
        let own = Some(Duration::from_secs(7));
        assert_eq!(
            class.idle(own),
            Duration::from_secs(7),
            "a configured udp_timeout wins"
        );
        let mut table = Table::new(Config::default());
        let to = SocketAddr::from(([192, 0, 2, 1], port));
        let opened = table
            .outbound(at(5), client(2, 4), to, class)
            .expect("room");
        assert_eq!(table.poll_timeout(), Some(at(5 + idle)));
        assert_eq!(expired(&mut table, at(5 + idle - 1)), []);
        assert_eq!(
            expired(&mut table, at(5 + idle)),
            [(client(2, 4), Why::Idle)]
        );
        assert!(table.is_empty() && table.poll_timeout().is_none());
        assert_eq!(table.client(opened.id), None);
    }
    assert_eq!(Class::Dtls.idle(None), Duration::from_secs(120));
}

#[test]
fn udp_timeout_wins_over_every_protocol() {
    let udp_timeout = Some(Duration::from_secs(77));
    let mut table = Table::new(Config {
        udp_timeout,
        ..Config::default()
    });
    for (port, to) in [
        (1, "192.0.2.1:53"),
        (2, "192.0.2.1:443"),
        (3, "192.0.2.1:9999"),
    ] {
        let id = send(&mut table, at(0), client(2, port), to).id;
        // Nor is it cut short by the last answer.
        assert!(
            !table
                .inbound(at(1), id, addr(to))
                .expect("an answer")
                .is_last
        );
    }
    assert_eq!(expired(&mut table, at(76)), []);
    assert_eq!(expired(&mut table, at(77)).len(), 3);
}

#[test]
fn a_mapping_lives_as_long_as_its_longest_use_asks_for() {
    let mut table = Table::new(Config::default());
    send(&mut table, at(0), client(2, 4), "192.0.2.1:9999");
    send(&mut table, at(1), client(2, 4), "192.0.2.1:53");
    assert_eq!(expired(&mut table, at(299)), []);
    assert_eq!(expired(&mut table, at(300)).len(), 1);
}

#[test]
fn rfc_4787_req_6_outbound_refreshes_and_inbound_only_if_asked() {
    for refreshes_on_inbound in [false, true] {
        let mut table = Table::new(Config {
            refreshes_on_inbound,
            ..Config::default()
        });
        let id = send(&mut table, at(0), client(2, 4), "192.0.2.1:9999").id;
        send(&mut table, at(200), client(2, 4), "192.0.2.1:9999");
        table
            .inbound(at(400), id, addr("192.0.2.1:9999"))
            .expect("an answer");
        assert_eq!(
            expired(&mut table, at(499)),
            [],
            "the client's datagram of 200"
        );
        assert_eq!(
            expired(&mut table, at(500)).is_empty(),
            refreshes_on_inbound
        );
        assert_eq!(
            expired(&mut table, at(700)).is_empty(),
            !refreshes_on_inbound
        );
    }
}

#[test]
fn a_fired_timer_is_moved_so_no_loop_spins() {
    let mut table = Table::new(Config::default());
    send(&mut table, at(0), client(2, 4), "192.0.2.1:9999");
    send(&mut table, at(299), client(2, 4), "192.0.2.1:9999");
    assert_eq!(table.poll_timeout(), Some(at(300)), "early, and harmless");
    assert_eq!(expired(&mut table, at(300)), []);
    assert_eq!(table.poll_timeout(), Some(at(599)));
}

#[test]
fn dns_mapping_goes_with_the_last_answer() {
    let mut table = Table::new(Config::default());
    let dns = "192.0.2.53:53";
    let id = send(&mut table, at(0), client(2, 4), dns).id;
    send(&mut table, at(0), client(2, 4), dns);
    assert!(
        !table
            .inbound(at(1), id, addr(dns))
            .expect("one of two")
            .is_last
    );
    assert_eq!(expired(&mut table, at(1)), []);
    assert!(
        table
            .inbound(at(2), id, addr(dns))
            .expect("two of two")
            .is_last
    );
    assert_eq!(table.poll_timeout(), Some(at(2)));
    assert_eq!(expired(&mut table, at(2)), [(client(2, 4), Why::Answered)]);

    // A third question in time keeps it.
    let id = send(&mut table, at(10), client(2, 4), dns).id;
    assert!(
        table
            .inbound(at(11), id, addr(dns))
            .expect("answered")
            .is_last
    );
    send(&mut table, at(11), client(2, 4), dns);
    assert_eq!(expired(&mut table, at(20)), []);
    assert_eq!(expired(&mut table, at(21)), [(client(2, 4), Why::Idle)]);

    // Nobody but the server answers, and of several servers none is the last.
    let id = send(&mut table, at(25), client(2, 4), dns).id;
    for stranger in ["192.0.2.66:53", "192.0.2.53:54"] {
        assert!(
            !table
                .inbound(at(25), id, addr(stranger))
                .expect("let in")
                .is_last
        );
    }
    send(&mut table, at(25), client(2, 4), "192.0.2.54:53");
    for server in [dns, "192.0.2.54:53"] {
        assert!(
            !table
                .inbound(at(25), id, addr(server))
                .expect("answered")
                .is_last
        );
    }
    assert!(table.close(id).is_some());

    // One that did something else as well stays.
    let id = send(&mut table, at(30), client(2, 4), dns).id;
    send(&mut table, at(30), client(2, 4), "192.0.2.1:9999");
    assert!(
        !table
            .inbound(at(31), id, addr(dns))
            .expect("answered")
            .is_last
    );
    assert_eq!(expired(&mut table, at(100)), []);
}

#[test]
fn rfc_5508_req_1_and_2_echo_mappings_are_endpoint_independent_for_60_seconds() {
    let udp_timeout = Some(Duration::from_secs(7));
    let mut table = Table::new(Config {
        udp_timeout,
        ..Config::default()
    });
    // The port is the identifier of the query.
    let query = client(2, 0x1234);
    let one = SocketAddr::from(([192, 0, 2, 1], 0));
    let two = SocketAddr::from(([192, 0, 2, 2], 0));
    let first = table
        .outbound(at(0), query, one, Class::Echo)
        .expect("room");
    let second = table
        .outbound(at(1), query, two, Class::Echo)
        .expect("room");
    assert_eq!((first.id, second.is_new), (second.id, false));
    assert_eq!(
        table.inbound(at(2), first.id, one).expect("a reply").client,
        query
    );
    assert_eq!(expired(&mut table, at(60)), []);
    assert_eq!(expired(&mut table, at(61)), [(query, Why::Idle)]);
}

#[test]
fn a_late_reply_never_reaches_the_next_client() {
    let mut table = Table::new(Config::default());
    let remote = addr("192.0.2.1:9999");
    let old = send(&mut table, at(0), client(2, 4), "192.0.2.1:9999").id;
    let closed = table.close(old).expect("there");
    assert_eq!((closed.id, closed.why), (old, Why::Closed));
    assert_eq!(table.close(old), None);
    let new = send(&mut table, at(0), client(3, 5), "192.0.2.1:9999").id;
    assert_ne!(old, new);
    assert_eq!(table.inbound(at(0), old, remote), Err(Drop::Stale));
    assert!(table.close(old).is_none() && table.client(old).is_none());
    assert!(table.client(new).is_some());
    assert_eq!(
        table.inbound(at(0), new, remote).expect("a reply").client,
        client(3, 5)
    );
    assert_eq!(table.drops().of(Drop::Stale), 1);
}

#[test]
fn p4_a_flood_of_mappings_stays_within_the_limits() {
    let mut table = Table::new(Config::default());
    let mut evicted = 0;
    for port in 1..=60_000 {
        evicted += usize::from(
            send(&mut table, at(0), client(2, port), "192.0.2.1:9")
                .evicted
                .is_some(),
        );
    }
    assert_eq!(table.len(), SESSIONS_PER_CLIENT_MAX);
    assert_eq!(evicted, 60_000 - SESSIONS_PER_CLIENT_MAX);
    for host in 3..=255 {
        for port in 1..=300 {
            send(&mut table, at(0), client(host, port), "192.0.2.1:9");
            assert!(table.len() <= SESSIONS_MAX);
        }
    }
    assert_eq!(table.len(), SESSIONS_MAX);
}

#[test]
fn the_least_recently_used_goes_its_own_client_first() {
    let config = Config {
        sessions_max: 5,
        sessions_per_client_max: 3,
        ..Config::default()
    };
    let mut table = Table::new(config);
    let to = "192.0.2.1:9";
    for port in 1..=3 {
        send(&mut table, at(0), client(2, port), to);
    }
    send(&mut table, at(0), client(2, 1), to);
    let why = |out: Outbound| out.evicted.map(|closed| (closed.client, closed.why));
    let fourth = send(&mut table, at(0), client(2, 4), to);
    assert_eq!(why(fourth), Some((client(2, 2), Why::EvictedByClient)));
    for port in 1..=2 {
        assert_eq!(why(send(&mut table, at(0), client(3, port), to)), None);
    }
    let last = send(&mut table, at(0), client(4, 1), to);
    assert_eq!(why(last), Some((client(2, 3), Why::Evicted)));
    assert_eq!(table.len_of(client(2, 0).ip()), 2);
    let mut none = Table::new(Config {
        sessions_max: 0,
        ..config
    });
    let refused = none.outbound(at(0), client(2, 1), addr(to), Class::Udp);
    assert_eq!(
        (refused, none.drops().of(Drop::NoRoom)),
        (Err(Drop::NoRoom), 1)
    );
}
